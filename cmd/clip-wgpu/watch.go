package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// watcher notes which folders have changed.
type watcher struct {
	*fsnotify.Watcher
	ix      *indexing
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
	w := &watcher{Watcher: notify, ix: ix, changed: map[string]bool{}, rest: time.NewTimer(0)}
	<-w.rest.C
	for i, root := range roots {
		if roots[i], err = filepath.Abs(root); err != nil {
			return err
		}
		if err := w.addAll(roots[i]); err != nil {
			return err
		}
	}
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
		case <-w.rest.C:
			folders := slices.Sorted(maps.Keys(w.changed))
			clear(w.changed)
			if err := w.update(ctx, present(folders, roots)); err != nil {
				return err
			}
		}
	}
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
	w.change(filepath.Dir(e.Name))
	if info, err := os.Lstat(e.Name); e.Has(fsnotify.Create) && err == nil && info.IsDir() {
		w.change(e.Name)
		return w.addAll(e.Name)
	}
	return nil
}

// addAll watches a folder and those below it that are searched for pictures.
func (w *watcher) addAll(folder string) error {
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
