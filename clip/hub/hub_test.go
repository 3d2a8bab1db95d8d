package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const (
	repo        = "org/model"
	weightsFile = "open_clip_model.safetensors"
)

// weightBytes are contents of more than one read.
var weightBytes = bytes.Repeat([]byte("0123456789abcde\n"), 1<<17)

func files() map[string]map[string][]byte {
	return map[string]map[string][]byte{repo: {
		"README.md":             []byte("not wanted"),
		"open_clip_config.json": []byte(`{"model_cfg": {}}`),
		"merges.txt":            []byte("a b\n"),
		weightsFile:             weightBytes,
		"pytorch_model.bin":     []byte("not wanted"),
	}}
}

// open starts a server and returns a hub that waits for next to nothing.
func open(t *testing.T, change ...func(*Options)) (*hubtest.Server, *Hub) {
	t.Helper()
	s := hubtest.New(t, files())
	s.Environment(t)
	o := Options{Timeout: 5 * time.Second}
	for _, f := range change {
		f(&o)
	}
	h, err := New(o)
	require.NoError(t, err)
	h.backoff = time.Millisecond
	return s, h
}

func (h *Hub) model(t *testing.T) (string, error) {
	t.Helper()
	r, err := ParseRef(repo)
	require.NoError(t, err)
	return h.Model(t.Context(), r, "", nil)
}

func (h *Hub) requireModel(t *testing.T) string {
	t.Helper()
	path, err := h.model(t)
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(weightBytes, data), "the weights")
	return path
}

// requireNothingVisible checks that no blob and no file of the weights is there,
// but what a later download goes on with.
func (h *Hub) requireNothingVisible(t *testing.T) {
	t.Helper()
	etag := hubtest.ETag(weightsFile, weightBytes)
	filepath.WalkDir(h.CacheDir, func(path string, d os.DirEntry, err error) error {
		name := filepath.Base(path)
		assert.NotEqual(t, weightsFile, name)
		assert.NotEqual(t, etag, name)
		return nil
	})
}

func (h *Hub) blobPath() string {
	return filepath.Join(h.CacheDir, "models--org--model", "blobs", hubtest.ETag(weightsFile, weightBytes))
}

// oneLine checks the manner of errors.
func oneLine(t *testing.T, err error, is error, names ...string) {
	t.Helper()
	require.ErrorIs(t, err, is)
	assert.NotContains(t, err.Error(), "\n")
	assert.NotContains(t, err.Error(), "X-Signature")
	for _, name := range names {
		assert.ErrorContains(t, err, name)
	}
}

func TestDownloadMakesTheCacheOfPythonsLibrary(t *testing.T) {
	var done, total int64
	s, h := open(t, func(o *Options) {
		o.Progress = func(file string, d, n int64) {
			if file == weightsFile {
				done, total = d, n
			}
		}
	})
	path := h.requireModel(t)
	assert.Equal(t, []int64{int64(len(weightBytes)), int64(len(weightBytes))}, []int64{done, total})
	dir := filepath.Join(h.CacheDir, "models--org--model")
	assert.Equal(t, filepath.Join(dir, "snapshots", hubtest.Commit, weightsFile), path)
	target, err := os.Readlink(path)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join("..", "..", "blobs", hubtest.ETag(weightsFile, weightBytes)), target)
	ref, err := os.ReadFile(filepath.Join(dir, "refs", "main"))
	require.NoError(t, err)
	assert.Equal(t, hubtest.Commit, string(ref))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{"merges.txt", "open_clip_config.json", weightsFile}, names)
	entries, err = os.ReadDir(filepath.Join(dir, "blobs"))
	require.NoError(t, err)
	assert.Len(t, entries, 3, "and nothing unfinished")

	// What is there is not asked for again.
	s.DrainRequests()
	h.requireModel(t)
	assert.Equal(t, []string{"GET /api/models/org/model/revision/main"}, s.Requests())
	r, err := ParseRef(repo + "@" + hubtest.Commit)
	require.NoError(t, err)
	_, err = h.Model(t.Context(), r, "", nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"GET /api/models/org/model/revision/" + hubtest.Commit}, s.Requests())
}

func TestTokenGoesToTheHubOnly(t *testing.T) {
	s, h := open(t, func(o *Options) { o.Token = "hf_secret" })
	h.requireModel(t)
	stored := 0
	for _, r := range s.DrainRequests() {
		if strings.HasPrefix(r.URL.Path, "/storage/") {
			stored++
			assert.Empty(t, r.Header["Authorization"], r.URL.Path)
		} else {
			assert.Equal(t, "Bearer hf_secret", r.Header.Get("Authorization"), r.URL.Path)
		}
	}
	assert.Equal(t, 1, stored)
}

func TestResume(t *testing.T) {
	s, h := open(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(h.blobPath()), 0o777))
	half := len(weightBytes) / 2
	require.NoError(t, os.WriteFile(h.blobPath()+".incomplete", weightBytes[:half], 0o666))
	h.requireModel(t)
	var ranges []string
	for _, r := range s.DrainRequests() {
		if strings.HasPrefix(r.URL.Path, "/storage/") {
			ranges = append(ranges, r.Header.Get("Range"))
		}
	}
	assert.Equal(t, []string{fmt.Sprintf("bytes=%d-", half)}, ranges)
}

func TestResumeOfAnotherFilesBytesStartsAgain(t *testing.T) {
	for name, rest := range map[string][]byte{
		"other bytes": bytes.Repeat([]byte("x"), len(weightBytes)/3),
		"too long":    bytes.Repeat([]byte("x"), len(weightBytes)+1),
		"as long":     bytes.Repeat([]byte("x"), len(weightBytes)),
	} {
		t.Run(name, func(t *testing.T) {
			_, h := open(t)
			require.NoError(t, os.MkdirAll(filepath.Dir(h.blobPath()), 0o777))
			require.NoError(t, os.WriteFile(h.blobPath()+".incomplete", rest, 0o666))
			h.requireModel(t)
		})
	}
}

func TestServerWithoutRanges(t *testing.T) {
	s, h := open(t)
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Range")
		return false
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(h.blobPath()), 0o777))
	require.NoError(t, os.WriteFile(h.blobPath()+".incomplete", weightBytes[:99], 0o666))
	h.requireModel(t)
}

func TestCancel(t *testing.T) {
	s, h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Fault = onStorage(-1, func(w http.ResponseWriter, r *http.Request) {
		w.Write(weightBytes[:1<<20])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	_, err := h.Model(ctx, Ref{repo, "main"}, "", nil)
	require.ErrorIs(t, err, context.Canceled)
	h.requireNothingVisible(t)
	s.Fault = nil
	h.requireModel(t)
}

func TestOffline(t *testing.T) {
	s, h := open(t)
	h.Offline = true
	_, err := h.model(t)
	oneLine(t, err, ErrOffline, "hf-hub:org/model", h.CacheDir, "HF_HUB_OFFLINE")
	assert.Empty(t, s.DrainRequests())
	h.Offline = false
	path := h.requireModel(t)
	h.Offline = true
	s.DrainRequests()
	h.requireModel(t)
	assert.Empty(t, s.DrainRequests())
	require.NoError(t, os.Remove(path))
	_, err = h.model(t)
	oneLine(t, err, ErrOffline, "as a whole", weightsFile)
}

func TestShards(t *testing.T) {
	s, h := open(t)
	index := "open_clip_model.safetensors.index.json"
	parts := []string{"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"}
	data, err := json.Marshal(map[string]any{"weight_map": map[string]string{"a": parts[0], "b": parts[1], "c": parts[0]}})
	require.NoError(t, err)
	delete(s.Repos[repo], weightsFile)
	s.Repos[repo][index] = data
	s.Repos[repo][parts[0]], s.Repos[repo][parts[1]] = []byte("one"), []byte("two")
	path, err := h.model(t)
	require.NoError(t, err)
	assert.Equal(t, index, filepath.Base(path))
	for _, p := range parts {
		assert.FileExists(t, filepath.Join(filepath.Dir(path), p))
	}
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), parts[1])))
	h.Offline = true
	_, err = h.model(t)
	oneLine(t, err, ErrOffline, parts[1])

	h.Offline = false
	for _, shard := range []string{"../../x.safetensors", "/etc/passwd", "a/b", `..\x`} {
		s.Repos[repo][index] = fmt.Appendf(nil, `{"weight_map": {"a": %q}}`, shard)
		require.NoError(t, os.RemoveAll(h.CacheDir))
		_, err = h.model(t)
		oneLine(t, err, ErrDamaged, fmt.Sprintf("%q", shard))
	}
}

func TestWhatIsNotAcceptedGetsNoWeights(t *testing.T) {
	_, h := open(t)
	no := errors.New("no")
	accept := func(file string) error {
		if filepath.Base(file) == "open_clip_config.json" {
			return no
		}
		return nil
	}
	_, err := h.Model(t.Context(), Ref{repo, "main"}, "", accept)
	require.ErrorIs(t, err, no)
	h.requireNothingVisible(t)
	assert.NoFileExists(t, h.refPath(Ref{repo, "main"}), "a revision is known when it is here as a whole")
	h.requireModel(t)
	h.Offline = true
	_, err = h.Model(t.Context(), Ref{repo, "main"}, "", accept)
	require.Equal(t, no, err)
}

func TestWhichWeights(t *testing.T) {
	s, h := open(t)
	all := []string{"model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin", weightsFile}
	for i, want := range all[:3] {
		s.Repos[repo] = map[string][]byte{"config.json": []byte("{}")}
		for _, f := range all[i : i+1] {
			s.Repos[repo][f] = []byte(f)
		}
		require.NoError(t, os.RemoveAll(h.CacheDir))
		path, err := h.model(t)
		require.NoError(t, err)
		assert.Equal(t, want, filepath.Base(path))
	}
	path, err := h.Model(t.Context(), Ref{repo, "main"}, "open_clip_pytorch_model.bin", nil)
	require.NoError(t, err)
	assert.Equal(t, "open_clip_pytorch_model.bin", filepath.Base(path))
}

func TestServerWithoutListings(t *testing.T) {
	s, h := open(t)
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			http.NotFound(w, r)
			return true
		}
		return false
	}
	path := h.requireModel(t)
	assert.FileExists(t, filepath.Join(filepath.Dir(path), "merges.txt"))
	_, err := h.Model(t.Context(), Ref{"org/none", "main"}, "", nil)
	oneLine(t, err, ErrNotFound, "hf-hub:org/none")
}

func TestTwoAtOnce(t *testing.T) {
	s, h := open(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := h.Model(t.Context(), Ref{repo, "main"}, "", nil)
			errs <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	stored := 0
	for _, r := range s.DrainRequests() {
		if strings.HasPrefix(r.URL.Path, "/storage/") {
			stored++
		}
	}
	assert.Equal(t, 1, stored, "the others wait for the first")
	h.requireModel(t)
}

// Weights of any name are taken where they are the only ones.
func TestModelWithWeightsOfOtherNames(t *testing.T) {
	s, h := open(t)
	delete(s.Repos[repo], "pytorch_model.bin")
	delete(s.Repos[repo], weightsFile)
	s.Repos[repo]["my.safetensors"] = weightBytes
	s.Repos[repo]["onnx/model.safetensors"] = []byte("in a folder, so not the model's")
	assert.Equal(t, "my.safetensors", filepath.Base(h.requireModel(t)))
	h.Offline = true
	assert.Equal(t, "my.safetensors", filepath.Base(h.requireModel(t)))
	h.Offline = false

	s.Repos[repo]["open_clip_pytorch_model.safetensors"] = weightBytes
	assert.Equal(t, "open_clip_pytorch_model.safetensors", filepath.Base(h.requireModel(t)))

	delete(s.Repos[repo], "open_clip_pytorch_model.safetensors")
	s.Repos[repo]["other.pt"] = weightBytes
	require.NoError(t, os.RemoveAll(h.CacheDir))
	_, err := h.model(t)
	oneLine(t, err, weights.ErrNotWeights, "hf-hub:org/model", "my.safetensors, other.pt: give one of them, by its address "+h.Endpoint+"/org/model/blob/main/FILE")
}
