// Package hubtest is a server on this machine that speaks the part of the
// Hugging Face hub's API that downloads need, for tests.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Commit is what every revision of every repository is.
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Server has repositories of files. Weights lie in large file storage, which
// is a server of its own: their requests are redirected there.
type Server struct {
	*httptest.Server
	Storage *httptest.Server
	Repos   map[string]map[string][]byte // by org/name and file

	// Fault, where set, may answer a request itself and return true. Requests
	// are those to the hub and, with paths below /storage/, to the storage.
	Fault func(w http.ResponseWriter, r *http.Request) bool

	mu  sync.Mutex
	log []*http.Request
}

// New starts a server that ends with the test.
func New(t testing.TB, repos map[string]map[string][]byte) *Server {
	s := &Server{Repos: repos}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	s.Storage = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Server.Close)
	t.Cleanup(s.Storage.Close)
	return s
}

// Environment makes the server the hub of this process, with a cache of the
// test's own, which it returns.
func (s *Server) Environment(t testing.TB) (cache string) {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT"} {
		t.Setenv(name, "")
	}
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_ENDPOINT", s.URL)
	return home + "/hub"
}

// Requests lists, as "METHOD path", what was asked for since the last call.
func (s *Server) Requests() (lines []string) {
	for _, r := range s.DrainRequests() {
		lines = append(lines, r.Method+" "+r.URL.Path)
	}
	return lines
}

// DrainRequests returns what was asked for since the last call.
func (s *Server) DrainRequests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.log
	s.log = nil
	return requests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, r)
	s.mu.Unlock()
	if s.Fault != nil && s.Fault(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if rest, ok := strings.CutPrefix(path, "api/models/"); ok {
		repo, _, _ := strings.Cut(rest, "/revision/")
		s.list(w, repo)
		return
	}
	if rest, ok := strings.CutPrefix(path, "storage/"); ok {
		path = rest
	}
	repo, rest, _ := strings.Cut(path, "/resolve/")
	_, file, _ := strings.Cut(rest, "/")
	s.file(w, r, repo, file)
}

func (s *Server) list(w http.ResponseWriter, repo string) {
	files, ok := s.Repos[repo]
	if !ok {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, "Repository not found", http.StatusNotFound)
		return
	}
	type sibling struct {
		Name string `json:"rfilename"`
	}
	var siblings []sibling
	for name := range files {
		siblings = append(siblings, sibling{name})
	}
	slices.SortFunc(siblings, func(a, b sibling) int { return strings.Compare(a.Name, b.Name) })
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"id": repo, "sha": Commit, "siblings": siblings})
}

func (s *Server) file(w http.ResponseWriter, r *http.Request, repo, file string) {
	data, ok := s.Repos[repo][file]
	w.Header().Set("X-Repo-Commit", Commit)
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "Entry not found", http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"`+ETag(file, data)+`"`)
	if IsLarge(file) && !strings.HasPrefix(r.URL.Path, "/storage/") {
		w.Header().Set("X-Linked-Etag", `"`+ETag(file, data)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Header().Set("Location", s.Storage.URL+"/storage"+r.URL.Path+"?X-Signature=secret")
		w.WriteHeader(http.StatusFound)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// IsLarge tells which files lie in large file storage.
func IsLarge(file string) bool {
	return strings.HasSuffix(file, ".safetensors") || strings.HasSuffix(file, ".bin")
}

// ETag is the hub's name of a file's content: its SHA-256 in large file
// storage, else git's hash of the blob.
func ETag(file string, data []byte) string {
	if IsLarge(file) {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}
