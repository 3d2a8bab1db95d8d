package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/clip-wgpu/clip-wgpu/internal/walk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pictures puts a picture under each of the names below a new folder, which may
// have other extensions.
func pictures(t *testing.T, names ...string) string {
	t.Helper()
	picture, err := os.ReadFile(example("pizza"))
	require.NoError(t, err)
	folder := t.TempDir()
	for _, name := range names {
		path := filepath.Join(folder, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, picture, 0o666))
	}
	return folder
}

// relative cuts folder off the start of paths.
func relative(folder string, paths []string) (names []string) {
	for _, path := range paths {
		names = append(names, filepath.ToSlash(strings.TrimPrefix(path, folder+string(filepath.Separator))))
	}
	return names
}

// unreadable makes a folder below another that nobody can read, root included:
// its path is longer than the system takes.
func unreadable(t *testing.T, folder string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("paths may be long")
	}
	at, err := os.OpenRoot(folder)
	require.NoError(t, err)
	name := strings.Repeat("x", 250)
	for range 17 {
		require.NoError(t, at.Mkdir(name, 0o777))
		below, err := at.OpenRoot(name)
		require.NoError(t, err)
		require.NoError(t, at.Close())
		at, folder = below, filepath.Join(folder, name)
	}
	require.NoError(t, at.Close())
	_, err = os.ReadDir(folder)
	require.Error(t, err)
	return folder
}

func TestFoldersThatCannotBeReadAreSkipped(t *testing.T) {
	folder := pictures(t, "a.png", "z.png")
	bad := unreadable(t, folder)
	program(t, "embed", folder, "-o", "-").requireFailure(t, exitFailure, "xxx", "name too long", "--skip-errors")

	o := program(t, "embed", folder, "-o", "-", "--skip-errors")
	assert.Equal(t, exitSkipped, o.code)
	var ids []string
	for _, id := range decodeLines[rowID](t, o.stdout) {
		ids = append(ids, string(id.ID))
	}
	assert.Equal(t, []string{"a.png", "z.png"}, relative(folder, ids))
	assert.Regexp(t, `^clip-wgpu: skipped: .+x: .*name too long\nclip-wgpu: 1 of 3 inputs skipped\n$`, o.stderr)

	o = program(t, "classify", bad, example("pizza"), "--labels", "pizza", "--skip-errors", "--json")
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[jsonAnswer](t, o.stdout), 1)
	program(t, "classify", bad, "--labels", "pizza").requireFailure(t, exitFailure, "name too long")
}

func TestSearchesGoOnAfterErrors(t *testing.T) {
	folder := pictures(t, "a.png", "b/c.png", "d.png")
	require.NoError(t, os.Symlink(filepath.Join(folder, "none"), filepath.Join(folder, "broken.png")))
	require.NoError(t, os.Symlink(filepath.Join(folder, "loop.png"), filepath.Join(folder, "loop.png")))
	require.NoError(t, os.Symlink(folder, filepath.Join(folder, "b", "up")))
	empty, missing := t.TempDir(), filepath.Join(folder, "gone")
	args := []string{missing, empty, folder, "-", filepath.Join(folder, "loop.png")}
	stdin := missing + "/x.png\n" + filepath.Join(folder, "a.png") + "\n"
	s := imageSearch{}
	inputs, err := s.list(t.Context(), args, strings.NewReader(stdin))
	require.NoError(t, err)
	var good, bad []string
	for _, in := range inputs {
		if in.err == nil {
			good = append(good, in.id)
		} else {
			bad = append(bad, in.id)
		}
	}
	assert.Equal(t, []string{"a.png", "b/c.png", "d.png", "a.png"}, relative(folder, good))
	assert.Equal(t, []string{"gone", filepath.ToSlash(empty), "broken.png", "loop.png", "gone/x.png", "loop.png"}, relative(folder, bad))

	o := programWithInput(t, stdin, append([]string{"embed", "-o", "-", "--skip-errors"}, args...)...)
	assert.Equal(t, exitSkipped, o.code)
	assert.Len(t, decodeLines[rowID](t, o.stdout), 4)
	assert.Contains(t, o.stderr, "6 of 10 inputs skipped")
	s.mustExist = true
	_, err = s.list(t.Context(), args, strings.NewReader(stdin))
	assert.ErrorContains(t, err, missing)
}

func TestHiddenFilesAreLeftOutOfFolders(t *testing.T) {
	hidden := []string{".git/x.png", ".hidden.png", "._a.png", "@eaDir/a.png", "#recycle/a.png", "__MACOSX/a.png", "b/$RECYCLE.BIN/a.png", "b/._c.png", "b/@EADIR/c.jpg"}
	folder := pictures(t, append([]string{"a.png", "b/c.png"}, hidden...)...)
	assert.Equal(t, []string{"a.png", "b/c.png"}, relative(folder, found(t, imageSearch{}, folder)))
	assert.ElementsMatch(t, append([]string{"a.png", "b/c.png"}, hidden...), relative(folder, found(t, imageSearch{Options: walk.Options{Hidden: true}}, folder)))

	for _, name := range []string{".git", "@eaDir"} { // given by name
		assert.Len(t, found(t, imageSearch{}, filepath.Join(folder, name)), 1)
	}
	assert.Len(t, found(t, imageSearch{}, filepath.Join(folder, ".hidden.png")), 1)
	o := program(t, "embed", pictures(t, ".a.png", "@eaDir/x.png"), "-o", "-")
	o.requireFailure(t, exitFailure, "no images", "2 hidden")
	t.Chdir(filepath.Join(folder, ".git"))
	assert.Equal(t, []string{"x.png"}, found(t, imageSearch{}, "."))
}

func TestExcludedFolders(t *testing.T) {
	folder := pictures(t, "a.png", "thumbs/a.png", "b/thumbs/a.png", "b/thumbs2/a.png", "b/thumbs.png", "old1/x.png")
	o := program(t, "embed", folder, "-o", "-", "--exclude-dir", "thumbs/", "--exclude-dir", "old*")
	o.requireDone(t)
	var ids []string
	for _, id := range decodeLines[rowID](t, o.stdout) {
		ids = append(ids, string(id.ID))
	}
	assert.Equal(t, []string{"a.png", "b/thumbs.png", "b/thumbs2/a.png"}, relative(folder, ids))
	assert.Len(t, found(t, imageSearch{Options: walk.Options{ExcludeDirs: []string{"thumbs"}}}, filepath.Join(folder, "thumbs")), 1, "an argument is taken")
}

func TestOtherPicturesAreCounted(t *testing.T) {
	folder := pictures(t, "a.png", "b.heic", "sub/c.HEIC", "d.avif", "e.CR2", "notes.txt", "._x.heic", "scan.jfif")
	o := program(t, "classify", folder, "--labels", "pizza", "--json")
	assert.Equal(t, exitOK, o.code)
	assert.Len(t, decodeLines[jsonAnswer](t, o.stdout), 2)
	assert.Equal(t, "clip-wgpu: 4 files left out: 2 HEIC, 1 AVIF, 1 raw (not supported)\n", o.stderr)
	program(t, "embed", folder, "-o", filepath.Join(t.TempDir(), "x.npy"), "--quiet").requireDone(t)

	only := pictures(t, "a.heic", "b.jxl", "c.heic")
	program(t, "classify", only, "--labels", "a").requireFailure(t, exitFailure, only, "2 HEIC, 1 JPEG XL (not supported)")
}
