package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is watched, and what a change makes the next update look through, is what the
// folders' own update takes: neither hidden folders nor those above a root.
func TestWatchedFolders(t *testing.T) {
	real, below := t.TempDir(), ""
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(real, link))
	for _, name := range []string{"a", ".hidden", "a/below"} {
		below = filepath.Join(link, name)
		require.NoError(t, os.Mkdir(below, 0o777))
	}
	notify, err := fsnotify.NewWatcher()
	require.NoError(t, err)
	defer notify.Close()
	w, err := newWatcher(&indexing{}, notify, []string{link})
	require.NoError(t, err)
	want := []string{link, filepath.Join(link, "a"), below}
	assert.ElementsMatch(t, want, notify.WatchList())

	for _, c := range []struct {
		name    string
		op      fsnotify.Op
		changed []string
	}{
		{link, fsnotify.Rename, []string{link}},
		{link, fsnotify.Remove, []string{link}},
		{filepath.Join(link, ".hidden"), fsnotify.Create, []string{link}},
		{filepath.Join(link, "a"), fsnotify.Remove, []string{link}},
		{below, fsnotify.Create, []string{filepath.Dir(below), below}},
		{filepath.Join(below, "x.jpg"), fsnotify.Write, []string{below}},
		{filepath.Join(below, "x.jpg"), fsnotify.Chmod, nil},
	} {
		clear(w.changed)
		require.NoError(t, w.note(fsnotify.Event{Name: c.name, Op: c.op}))
		assert.Equal(t, c.changed, slices.Sorted(maps.Keys(w.changed)), c)
	}
	assert.ElementsMatch(t, want, notify.WatchList())
}

// A root that was away, or has been replaced, is watched again with what is below it.
func TestRootsThatReturn(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "a"), 0o777))
	notify, err := fsnotify.NewWatcher()
	require.NoError(t, err)
	defer notify.Close()
	w, err := newWatcher(&indexing{}, notify, []string{root})
	require.NoError(t, err)
	look := func(changed ...string) {
		t.Helper()
		clear(w.changed)
		require.NoError(t, w.look())
		assert.ElementsMatch(t, changed, slices.Collect(maps.Keys(w.changed)))
	}
	look()
	require.NoError(t, os.Rename(root, root+"-away"))
	look()
	look()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "b"), 0o777))
	look(root)
	look()
	assert.Contains(t, notify.WatchList(), filepath.Join(root, "b"))
	require.NoError(t, os.Rename(root, root+"-replaced"))
	require.NoError(t, os.Rename(root+"-away", root))
	look(root)
	require.NoError(t, os.WriteFile(filepath.Join(root, "a", "x.jpg"), nil, 0o666))
	for e := range notify.Events {
		if e.Name == filepath.Join(root, "a", "x.jpg") {
			break
		}
	}
}
