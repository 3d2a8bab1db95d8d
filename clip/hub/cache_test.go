package hub

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"org/name":              {"org/name", "main"},
		"roberta-base":          {"roberta-base", "main"},
		"org/na.me_1@v1.0":      {"org/na.me_1", "v1.0"},
		"org/name@refs/pr/1":    {"org/name", "refs/pr/1"},
		"org/name@feature/x@@y": {},
		"org/name@":             {},
		"org/name@../../x":      {},
		"org/name@a/../../b":    {},
		"":                      {},
		"a/b/c":                 {},
		"../x":                  {},
		"org/..":                {},
		"org/a..b":              {},
		"/etc":                  {},
		"org/ä":                 {},
		"org/name?x=1":          {},
	} {
		got, err := ParseRef(s)
		if want == (Ref{}) {
			require.ErrorIs(t, err, ErrRef, s)
			assert.NotContains(t, err.Error(), "\n")
			continue
		}
		require.NoError(t, err, s)
		assert.Equal(t, want, got)
		again, err := ParseRef(strings.TrimPrefix(got.String(), Prefix))
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
}

func TestEnvironment(t *testing.T) {
	s := hubtest.New(t, nil)
	cache := s.Environment(t)
	home := os.Getenv("HF_HOME")
	get := func() Options {
		t.Helper()
		h, err := New(Options{})
		require.NoError(t, err)
		return h.Options
	}
	assert.Equal(t, Options{CacheDir: cache, Endpoint: s.URL, Timeout: defaultTimeout}, get())

	require.NoError(t, os.WriteFile(filepath.Join(home, "token"), []byte(" hf_file\n"), 0o600))
	assert.Equal(t, "hf_file", get().Token)
	t.Setenv("HF_TOKEN_PATH", filepath.Join(home, "none"))
	assert.Empty(t, get().Token)
	t.Setenv("HF_TOKEN", "hf_variable\n")
	assert.Equal(t, "hf_variable", get().Token)

	t.Setenv("HF_HUB_DOWNLOAD_TIMEOUT", "25")
	assert.Equal(t, 25*time.Second, get().Timeout)
	t.Setenv("HF_HUB_DOWNLOAD_TIMEOUT", "")
	t.Setenv("HF_ENDPOINT", "https://mirror.example/hub/")
	h, err := New(Options{})
	require.NoError(t, err)
	assert.Equal(t, "https://mirror.example/hub/org/name/resolve/refs%2Fpr%2F1/a%20b/c", h.resolveURL(Ref{"org/name", "refs/pr/1"}, "a b/c").String())
	t.Setenv("HF_ENDPOINT", "mirror.example")
	_, err = New(Options{})
	require.ErrorContains(t, err, "HF_ENDPOINT")
	t.Setenv("HF_ENDPOINT", "")
	assert.Equal(t, defaultEndpoint, get().Endpoint)

	for value, want := range map[string]bool{"1": true, "yes": true, "TRUE": true, "0": false, "": false} {
		t.Setenv("HF_HUB_OFFLINE", value)
		assert.Equal(t, want, get().Offline, value)
	}
	t.Setenv("HOME", "/home/someone")
	t.Setenv("USERPROFILE", "/home/someone")
	for _, c := range []struct{ hubCache, home, xdg, want string }{
		{"~/c", "/h", "/x", "/home/someone/c"},
		{"", "$HOME/h", "/x", "/home/someone/h/hub"},
		{"", "", "/x", "/x/huggingface/hub"},
		{"", "", "", "/home/someone/.cache/huggingface/hub"},
	} {
		t.Setenv("HF_HUB_CACHE", c.hubCache)
		t.Setenv("HF_HOME", c.home)
		t.Setenv("XDG_CACHE_HOME", c.xdg)
		want, err := filepath.Abs(c.want)
		require.NoError(t, err)
		assert.Equal(t, want, get().CacheDir)
	}
}

func TestDiskIsFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	_, h := open(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(h.blobPath()), 0o777))
	require.NoError(t, os.Symlink("/dev/full", h.blobPath()+".incomplete"))
	_, err := h.model(t)
	oneLine(t, err, syscall.ENOSPC, h.CacheDir, "HF_HUB_CACHE")
	h.requireNothingVisible(t)
	assert.NoFileExists(t, h.blobPath()+".incomplete")
}

// A download that cannot be moved to its place is not lost.
func TestDownloadOutlivesItsRename(t *testing.T) {
	_, h := open(t)
	require.NoError(t, os.MkdirAll(filepath.Join(h.blobPath(), "full"), 0o777))
	_, err := h.model(t)
	require.ErrorContains(t, err, "cannot be written")
	data, err := os.ReadFile(h.blobPath() + ".incomplete")
	require.NoError(t, err)
	assert.True(t, bytes.Equal(weightBytes, data))
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	_, h := open(t)
	require.NoError(t, os.WriteFile(h.CacheDir, nil, 0o666)) // a file where the folder would be
	_, err := h.model(t)
	require.ErrorContains(t, err, h.CacheDir)
	assert.ErrorContains(t, err, "cannot be written")
	assert.ErrorContains(t, err, "HF_HUB_CACHE")
}

func TestReadOnlyCacheServesWhatItHas(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("permissions do not bind this user")
	}
	_, h := open(t)
	h.requireModel(t)
	require.NoError(t, filepath.WalkDir(h.CacheDir, func(path string, d os.DirEntry, err error) error {
		if d.IsDir() {
			os.Chmod(path, 0o555)
		}
		return err
	}))
	t.Cleanup(func() {
		filepath.WalkDir(h.CacheDir, func(path string, d os.DirEntry, err error) error { return os.Chmod(path, 0o755) })
	})
	h.requireModel(t)
	_, err := h.Tokenizer(t.Context(), Ref{"org/model", "other"})
	require.ErrorContains(t, err, "cannot be written")
}

func TestLockOfAnotherProcessIsWaitedFor(t *testing.T) {
	_, h := open(t)
	b := blob{ref: Ref{repo, hubtest.Commit}, file: weightsFile, etag: hubtest.ETag(weightsFile, weightBytes), size: int64(len(weightBytes))}
	unlock, err := h.lock(t.Context(), b)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(h.CacheDir, ".locks", "models--org--model", b.etag+".lock"))
	done := make(chan error)
	go func() { done <- h.fetch(t.Context(), b) }()
	select {
	case <-done:
		require.Fail(t, "it did not wait")
	case <-time.After(250 * time.Millisecond):
	}
	unlock()
	require.NoError(t, <-done)
}
