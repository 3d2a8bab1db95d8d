package hub

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/hubtest"
)

// What Python's posixpath.expandvars and ntpath.expandvars give.
func TestExpandVariables(t *testing.T) {
	for name, value := range map[string]string{"A": "aa", "B": "$A", "E": "", "A-B": "dash", "A B": "space"} {
		t.Setenv(name, value)
	}
	for path, want := range map[string]string{
		"$A/x": "aa/x", "${A}${A}": "aaaa", "/d/$nope/${nope2}/x": "/d/$nope/${nope2}/x", "$B": "$A", "/p/$E/x": "/p//x",
		"/d/${nope": "/d/${nope", "/$": "/$", "$$A": "$aa", "$1": "$1", "${}": "${}", "$A_": "$A_", "$A-B": "aa-B", "${A B}": "space", "$Aé": "aaé", "%A%": "%A%", "'$A'": "'aa'",
	} {
		assert.Equal(t, want, expandVariables(path, false), path)
	}
	for path, want := range map[string]string{
		`%A%\x`: `aa\x`, `%nope%\x`: `%nope%\x`, "%%A%%": "%A%", `$A\x`: `aa\x`, "${nope}": "${nope}", "$$A": "$A", "'%A%'%A%": "'%A%'aa", "'$A": "'$A",
		"%A": "%A", "$": "$", "%": "%", "100%": "100%", "%E%x": "x", "$A-B": "dash", "${A-B}": "dash", `C:\%A%%B%`: `C:\aa$A`, "%A%A%": "aaA%", "a%b$A": "a%b$A", "${A": "${A", "%no pe%$A": "%no pe%aa",
	} {
		assert.Equal(t, want, expandVariables(path, true), path)
	}
}

// What Python's huggingface_hub 2.4 gives (constants.py).
func TestCacheDirOfTheEnvironment(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	s := hubtest.New(t, nil)
	s.Environment(t)
	root := expandUser("~root")
	for _, c := range []struct{ hub, legacy, home, xdg, want string }{
		{hub: "/d/$nope/x", want: "/d/$nope/x"},
		{hub: "~/c", legacy: "/l", want: "/home/someone/c"},
		{legacy: "$HOME/l", home: "/h", want: "/home/someone/l"},
		{home: "/h/$nope", want: "/h/$nope/hub"},
		{hub: "$TILDE/c", want: "~/c"},                  // ~ is replaced before variables
		{home: "$TILDE/h", want: "/home/someone/h/hub"}, // and the default is expanded twice
		{home: "/$AGAIN", want: "/home/someone/hub"},
		{home: "~root/h", want: root + "/h/hub"},
		{home: "~nobody_of_this_name/h", want: "~nobody_of_this_name/h/hub"},
		{xdg: "~/x", want: "/home/someone/x/huggingface/hub"},
		{xdg: "/x/$nope", want: "/x/$nope/huggingface/hub"},
		{want: "/home/someone/.cache/huggingface/hub"},
	} {
		for name, value := range map[string]string{"HF_HUB_CACHE": c.hub, "HUGGINGFACE_HUB_CACHE": c.legacy, "HF_HOME": c.home, "XDG_CACHE_HOME": c.xdg,
			"HOME": "/home/someone", "TILDE": "~", "AGAIN": "$HOME"} {
			t.Setenv(name, value)
		}
		h, err := New(Options{})
		require.NoError(t, err)
		want, err := filepath.Abs(c.want)
		require.NoError(t, err)
		assert.Equal(t, want, h.CacheDir, "%+v", c)
	}
	t.Setenv("HF_TOKEN", "hf_secret")
	t.Setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes")
	h, err := New(Options{})
	require.NoError(t, err)
	assert.Empty(t, h.Token)
}

// The layouts of a cache that Python's library reads.
func TestOfflineLayouts(t *testing.T) {
	move := func(from, to string) func(string) error {
		return func(dir string) error { return os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)) }
	}
	link := func(target, name string) func(string) error {
		return func(dir string) error { return os.Symlink(target, filepath.Join(dir, name)) }
	}
	const repoDir, snapshots = "models--org--model", "models--org--model/snapshots/"
	ref := filepath.Join(repoDir, "refs", "main")
	for name, c := range map[string]struct {
		revision string
		steps    []func(cache string) error
	}{
		"a linked snapshot":          {"main", []func(string) error{move(snapshots+hubtest.Commit, snapshots+"elsewhere"), link("elsewhere", snapshots+hubtest.Commit)}},
		"a snapshot of another name": {"main", []func(string) error{move(snapshots+hubtest.Commit, snapshots+"mine"), func(dir string) error { return os.WriteFile(filepath.Join(dir, ref), []byte("mine"), 0o666) }}},
		"a linked repository":        {"main", []func(string) error{move(repoDir, "elsewhere"), link("elsewhere", repoDir)}},
		"linked blobs":               {"main", []func(string) error{move(repoDir+"/blobs", "elsewhere"), link("../elsewhere", repoDir+"/blobs")}},
		"a newline in the ref": {"main", []func(string) error{func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ref), []byte(hubtest.Commit+"\n"), 0o666)
		}}},
		"no refs, and a commit asked": {hubtest.Commit, []func(string) error{func(dir string) error { return os.RemoveAll(filepath.Join(dir, repoDir, "refs")) }}},
		"links in a circle":           {"main", []func(string) error{link(".", snapshots+hubtest.Commit+"/again")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := open(t)
			h.requireModel(t)
			for _, step := range c.steps {
				if err := step(h.CacheDir); err != nil && os.IsPermission(err) {
					t.Skip(err)
				} else {
					require.NoError(t, err)
				}
			}
			h.Offline = true
			path, err := h.Model(t.Context(), Ref{repo, c.revision}, "", nil)
			require.NoError(t, err)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, weightBytes, data)
		})
	}
}

// A download into a snapshot that lies elsewhere links to the blobs where they are.
func TestDownloadIntoALinkedSnapshot(t *testing.T) {
	_, h := open(t)
	elsewhere := filepath.Join(t.TempDir(), "a", "b", "c")
	require.NoError(t, os.MkdirAll(elsewhere, 0o777))
	snapshot := h.snapshotDir(Ref{repo, "main"}, hubtest.Commit)
	require.NoError(t, os.MkdirAll(filepath.Dir(snapshot), 0o777))
	if err := os.Symlink(elsewhere, snapshot); err != nil {
		t.Skip(err)
	}
	h.requireModel(t)
}
