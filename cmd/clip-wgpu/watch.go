package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// Changes are taken when folders have rested, because files are written a part at a time,
// or when they have been changing for long.
const (
	quiet    = time.Second
	restless = 10 * time.Second
)

// lookEvery is how often roots are looked for: nothing tells when one that was away, as that
// of a disk, is there again.
const lookEvery = 2 * time.Second

// watcher notes which folders have changed.
type watcher struct {
	*fsnotify.Watcher
	ix      *indexing
	roots   []string               // full paths
	there   map[string]fs.FileInfo // roots as they were when they were looked for; nil: they are away
	changed map[string]bool
	since   time.Time // of the first of these changes
	rest    *time.Timer
}

// watch updates the index, and again whenever something in the folders changes.
func (ix *indexing) watch(ctx context.Context, roots []string) error {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer notify.Close()
	w, err := newWatcher(ix, notify, roots)
	if err != nil {
		return err
	}
	roots = w.roots
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	if err := w.update(ctx, roots); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-notify.Events:
			if err := w.note(e); err != nil {
				return err
			}
		case err := <-notify.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			w.change(roots...)
		case <-look.C:
			if err := w.look(); err != nil {
				return err
			}
		case <-w.rest.C:
			folders := slices.Sorted(maps.Keys(w.changed))
			clear(w.changed)
			if err := w.update(ctx, present(folders, roots)); err != nil {
				return err
			}
		}
	}
}

// newWatcher watches roots and the folders below them.
func newWatcher(ix *indexing, notify *fsnotify.Watcher, roots []string) (*watcher, error) {
	w := &watcher{Watcher: notify, ix: ix, there: map[string]fs.FileInfo{}, changed: map[string]bool{}, rest: time.NewTimer(0)}
	<-w.rest.C
	for _, root := range roots {
		full, err := filepath.Abs(root)
		if err == nil {
			err = w.addAll(full)
		}
		if err != nil {
			return nil, err
		}
		w.roots = append(w.roots, full)
		w.there[full], _ = os.Stat(full)
	}
	return w, nil
}

// look watches the roots that are there again, and marks them as changed: those that were
// away, and those in whose place there is another folder, as where a disk is mounted.
func (w *watcher) look() error {
	for _, root := range w.roots {
		was := w.there[root]
		now, err := os.Stat(root)
		if err != nil {
			now = nil
		}
		w.there[root] = now
		if now == nil || was != nil && os.SameFile(was, now) {
			continue
		}
		w.change(root)
		if err := w.addAll(root); err != nil {
			return err
		}
	}
	return nil
}

// update updates folders. What is the matter with files and folders is told and does not
// end the watch.
func (w *watcher) update(ctx context.Context, folders []string) error {
	err := w.ix.update(ctx, folders)
	var skipped *exitError
	var folder *index.FolderError
	if errors.As(err, &folder) || errors.As(err, &skipped) && skipped.code == exitSkipped || errors.Is(err, index.ErrInUse) {
		w.ix.line.problem("%v", err)
		return nil
	}
	return err
}

// change marks folders as changed.
func (w *watcher) change(folders ...string) {
	if len(w.changed) == 0 {
		w.since = time.Now()
	}
	for _, folder := range folders {
		w.changed[folder] = true
	}
	w.rest.Reset(min(quiet, restless-time.Since(w.since)))
}

// note notes a change, and watches new folders.
func (w *watcher) note(e fsnotify.Event) error {
	if e.Op == fsnotify.Chmod { // also of files that are only looked at
		return nil
	}
	if slices.Contains(w.roots, e.Name) { // it was moved or removed: the folder above is not to be indexed
		w.change(e.Name)
		return nil
	}
	w.change(filepath.Dir(e.Name))
	info, err := os.Lstat(e.Name)
	if err != nil || !e.Has(fsnotify.Create) || !info.IsDir() || w.ix.search.LeavesOut(fs.FileInfoToDirEntry(info)) {
		return nil
	}
	w.change(e.Name)
	return w.addAll(e.Name)
}

// addAll watches a folder and those below it that are searched for pictures. As walk.Pictures
// does, it follows the folder itself where that is a link: hence the separator.
func (w *watcher) addAll(folder string) error {
	folder = strings.TrimSuffix(folder, string(filepath.Separator)) + string(filepath.Separator)
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir(): // what cannot be read is told by the update
			return nil
		case path != folder && w.ix.search.LeavesOut(d):
			return fs.SkipDir
		}
		err = w.Add(path)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
			return nil
		case sysfile.IsFull(err): // which is how Linux says it
			err = errors.New("the system watches no more folders (on Linux sysctl fs.inotify.max_user_watches says how many)")
		}
		return &fs.PathError{Op: "watch", Path: path, Err: err}
	})
}

// present replaces folders that are gone by those above them, up to a root.
func present(folders, roots []string) []string {
	var there []string
	for _, folder := range folders {
		for !slices.Contains(roots, folder) && filepath.Dir(folder) != folder {
			if info, err := os.Stat(folder); err == nil && info.IsDir() {
				break
			}
			folder = filepath.Dir(folder)
		}
		there = append(there, folder)
	}
	return there
}
