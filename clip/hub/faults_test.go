package hub

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

// onStorage is a fault of the server of large files, for its first n requests.
func onStorage(n int, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/storage/") || n == 0 {
			return false
		}
		n--
		f(w, r)
		return true
	}
}

// hangUp ends a connection in the middle of a response.
func hangUp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(weightBytes)))
	w.Write(weightBytes[:len(weightBytes)/2])
	panic(http.ErrAbortHandler)
}

func TestHalfAFileIsContinued(t *testing.T) {
	s, h := open(t)
	s.Fault = onStorage(1, hangUp)
	h.requireModel(t)
	var last string
	for _, r := range s.DrainRequests() {
		last = r.Header.Get("Range")
	}
	assert.NotEmpty(t, last)
}

func TestHalfAFileForEver(t *testing.T) {
	s, h := open(t)
	s.Fault = onStorage(-1, func(w http.ResponseWriter, r *http.Request) { // nothing says how long it is
		w.(http.Flusher).Flush()
		w.Write(weightBytes[:1000])
	})
	_, err := h.model(t)
	oneLine(t, err, ErrServer, s.URL+"/org/model/resolve/", "1000 of 2097152 bytes", "again later")
	h.requireNothingVisible(t)
}

func TestWrongLength(t *testing.T) {
	for _, n := range []int{len(weightBytes) - 1, len(weightBytes) + 1} {
		s, h := open(t)
		s.Fault = onStorage(-1, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Write(append(slices.Clone(weightBytes), 0)[:n])
		})
		_, err := h.model(t)
		oneLine(t, err, ErrDamaged, s.URL+"/org/model/resolve/", fmt.Sprint(n), "2097152")
		h.requireNothingVisible(t)
		assert.NoFileExists(t, h.blobPath()+".incomplete")
	}
}

func TestMoreThanWasSaid(t *testing.T) {
	s, h := open(t)
	s.Fault = onStorage(-1, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.Write(append(slices.Clone(weightBytes), weightBytes...))
	})
	_, err := h.model(t)
	oneLine(t, err, ErrDamaged, "more than the 2097152 bytes")
	h.requireNothingVisible(t)
}

func TestWrongChecksum(t *testing.T) {
	for _, file := range []string{weightsFile, "merges.txt"} { // SHA-256, git's SHA-1
		s, h := open(t)
		s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, file) || hubtest.IsLarge(file) && !strings.HasPrefix(r.URL.Path, "/storage/") {
				return false
			}
			w.Write(bytes.Repeat([]byte("x"), len(s.Repos[repo][file])))
			return true
		}
		_, err := h.model(t)
		oneLine(t, err, ErrDamaged, "checksum", hubtest.ETag(file, s.Repos[repo][file]), file)
		h.requireNothingVisible(t)
	}
}

func TestRedirectLoop(t *testing.T) {
	s, h := open(t)
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	_, err := h.model(t)
	oneLine(t, err, ErrServer, s.URL, "redirects more than 10 times")
	assert.Len(t, s.DrainRequests(), maxRedirects)
}

func TestRedirectsOfMovedRepositories(t *testing.T) {
	s, h := open(t)
	s.Repos["new/model"] = s.Repos[repo]
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "org/model") || strings.HasPrefix(r.URL.Path, "/storage/") {
			return false
		}
		http.Redirect(w, r, strings.Replace(r.URL.Path, "org/model", "new/model", 1), http.StatusTemporaryRedirect)
		return true
	}
	h.requireModel(t)
}

func TestRefusals(t *testing.T) {
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Error-Code", code)
			w.WriteHeader(status)
			return true
		}
	}
	for _, c := range []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request) bool
		is     error
		names  []string
		number int // of requests
	}{
		{"401", answer(401, "RepoNotFound"), ErrDenied, []string{"hf-hub:org/model", "401", "HF_TOKEN"}, 1},
		{"403 gated", answer(403, "GatedRepo"), ErrDenied, []string{"hf-hub:org/model", "403", "accept its terms", "/org/model"}, 1},
		{"404", answer(404, "RepoNotFound"), ErrNotFound, []string{"hf-hub:org/model", "404"}, 1},
		{"404 of a revision", answer(404, "RevisionNotFound"), ErrNotFound, []string{"hf-hub:org/model", `"main"`}, 1},
		{"418", answer(418, ""), ErrServer, []string{"hf-hub:org/model", "418"}, 1},
		{"500", answer(500, ""), ErrServer, []string{"hf-hub:org/model", "500", "5 attempts"}, maxAttempts},
		{"429", answer(429, ""), ErrServer, []string{"hf-hub:org/model", "429", "5 attempts"}, maxAttempts},
		{"a page", func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, "<html>Welcome to this hotel</html>")
			return true
		}, ErrServer, []string{"no listing", "HF_ENDPOINT"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, h := open(t)
			s.Fault = c.fault
			_, err := h.model(t)
			oneLine(t, err, c.is, c.names...)
			assert.Len(t, s.DrainRequests(), c.number)
			h.requireNothingVisible(t)
		})
	}
}

func TestMissingFiles(t *testing.T) {
	s, h := open(t)
	delete(s.Repos[repo], "pytorch_model.bin")
	delete(s.Repos[repo], weightsFile)
	_, err := h.model(t)
	oneLine(t, err, ErrNotFound, "hf-hub:org/model", weightsFile)
	s.Repos[repo][weightsFile] = weightBytes
	delete(s.Repos[repo], "open_clip_config.json")
	_, err = h.model(t)
	oneLine(t, err, ErrNotFound, "open_clip_config.json")

	// A file that is listed and not there.
	s, h = open(t)
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, weightsFile) {
			return false
		}
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
		return true
	}
	_, err = h.model(t)
	oneLine(t, err, ErrNotFound, s.URL+"/org/model/resolve/"+hubtest.Commit+"/"+weightsFile)
}

func TestRetryAfter(t *testing.T) {
	s, h := open(t)
	waits, again := 0, "1"
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if waits > 0 {
			return false
		}
		waits++
		w.Header().Set("Retry-After", again)
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	start := time.Now()
	h.requireModel(t)
	assert.GreaterOrEqual(t, time.Since(start), time.Second)

	waits, again = 0, "86400"
	_, err := h.Tokenizer(t.Context(), Ref{"org/other", "main"})
	oneLine(t, err, ErrServer, "hf-hub:org/other", "try again in 24h0m0s")
	header := http.Header{"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}
	assert.InDelta(t, time.Hour, retryAfter(header), float64(5*time.Second))
	assert.Zero(t, retryAfter(http.Header{"Retry-After": {"soon"}}))
}

func TestErrorsOfTheServerPass(t *testing.T) {
	s, h := open(t)
	seen := map[string]bool{}
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		request := r.Method + r.URL.Path
		if seen[request] {
			return false
		}
		seen[request] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	h.requireModel(t)
}

func TestServerThatStopsTalking(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"at once": func(http.ResponseWriter) {},
		"midway":  func(w http.ResponseWriter) { w.Write(weightBytes[:4096]); w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			s, h := open(t, func(o *Options) { o.Timeout = 50 * time.Millisecond })
			s.Fault = onStorage(-1, func(w http.ResponseWriter, r *http.Request) {
				begin(w)
				<-r.Context().Done()
			})
			_, err := h.model(t)
			oneLine(t, err, ErrServer, s.URL+"/org/model/resolve/", "stopped talking for 50ms", "again later")
			h.requireNothingVisible(t)
		})
	}
}

func TestNobodyListens(t *testing.T) {
	s, h := open(t)
	h.requireModel(t)
	s.Server.Close()
	h.backoff = time.Hour
	h.requireModel(t) // what is there is taken, and at once
	h.backoff = time.Millisecond
	require.NoError(t, os.RemoveAll(h.CacheDir))
	_, err := h.model(t)
	oneLine(t, err, ErrServer, s.URL, "refused", "(2 attempts)")
}

func TestPortsThatNoServerHas(t *testing.T) {
	h, err := New(Options{Endpoint: "http://127.0.0.1:123456", CacheDir: t.TempDir()})
	require.NoError(t, err)
	h.backoff = time.Hour
	_, err = h.model(t)
	oneLine(t, err, ErrServer, "127.0.0.1:123456", "invalid port")
}

func TestRedirectsStayEncrypted(t *testing.T) {
	plain, _ := open(t)
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x", http.StatusFound))
	defer s.Close()
	h, err := New(Options{Endpoint: s.URL})
	require.NoError(t, err)
	h.client.Transport = s.Client().Transport
	_, err = h.model(t)
	oneLine(t, err, ErrServer, s.URL, "not encrypted")
	assert.Empty(t, plain.DrainRequests())
}
