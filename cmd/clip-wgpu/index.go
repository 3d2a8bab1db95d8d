package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
	"github.com/spf13/cobra"
)

func newIndexCommand(g *globals) *cobra.Command {
	ix := indexing{globals: g, thumbnails: defaultThumbnails}
	cmd := &cobra.Command{
		Use:   "index [DIR]...",
		Short: "Make pictures searchable, and keep them so",
		Long: `index computes the vectors of the pictures in and below folders and keeps them in an
index, for clip-wgpu search. The next time it encodes new and changed pictures only:
files are known by their size and time, renamed and copied ones by their content. What
is gone from the folders is dropped. Without DIR it looks through all folders that it
was given before. It can be stopped, or killed, at any time and goes on from there.

A folder that is not there, or that has no pictures left, as that of a disk which is not
plugged in, keeps its pictures in the index, and the exit code is 1. --forget drops them.

Files that cannot be read are listed on stderr, and the exit code is 3. Those that are
no pictures are tried again when they have changed.

Pictures are turned upright by their EXIF orientation, and large JPEGs are decoded at a
part of their size, as --orient and --draft do elsewhere. The index holds a thumbnail of
each for the window, in a file of its own beside it; where --thumbnails does not hold
all, the oldest are dropped.

` + chooseHelp + `
An index has vectors of one model: for another, or other --weights, make another --index.
One process at a time writes an index; a second one fails. Searching goes on meanwhile.

` + foldersHelp + ` Both flags are for this time: what
they leave out is dropped from the index. A hidden folder, or a link to a folder, that is
a DIR itself is always taken.`,
		Example: `  clip-wgpu index ~/Pictures
  clip-wgpu index
  clip-wgpu index --watch
  clip-wgpu index ~/art --model emoji-clip --index art.db`,
		DisableFlagsInUseLine: true,
		RunE:                  ix.command,
	}
	f := cmd.Flags()
	f.StringVar(&ix.path, "index", "", indexFlagHelp)
	f.Var(&ix.thumbnails, "thumbnails", "most bytes of thumbnails to keep")
	f.BoolVar(&ix.noThumbnails, "no-thumbnails", false, "make no thumbnails")
	f.BoolVar(&ix.watching, "watch", false, "then wait for changes in the folders, until interrupted")
	f.BoolVar(&ix.forget, "forget", false, "drop the pictures in and below DIR from the index")
	ix.search.addWalkFlags(cmd)
	return cmd
}

const indexFlagHelp = "index `file` (default: clip-wgpu/pictures.db in the user's data folder)"

// defaultThumbnails is how many bytes of thumbnails are kept beside an index.
const defaultThumbnails = 1 << 30

// indexing is one index command.
type indexing struct {
	*globals
	path                           string
	thumbnails                     size
	noThumbnails, watching, forget bool
	search                         imageSearch

	cmd  *cobra.Command
	x    *index.Index
	s    *session // nil where the model is loaded when it is needed
	line *console // of progress
}

func (ix *indexing) command(cmd *cobra.Command, roots []string) error {
	ix.cmd, ix.line = cmd, ix.console()
	if err := ix.check(roots); err != nil {
		return err
	}
	var err error
	if ix.path, err = indexPath(ix.path); err != nil {
		return err
	}
	ix.x, err = index.Open(ix.path)
	if errors.Is(err, fs.ErrNotExist) {
		if ix.forget || len(roots) == 0 {
			return usageErrorf(cmd, "no folder given, and there is no index %s yet", ix.path)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	defer func() {
		if ix.x != nil {
			ix.x.Close()
		}
	}()
	if ix.forget {
		return ix.drop(roots)
	}
	if len(roots) == 0 {
		if roots, err = ix.x.Roots(cmd.Context()); err != nil {
			return err
		}
		if len(roots) == 0 {
			return usageErrorf(cmd, "no folder given, and the index %s has none yet", ix.path)
		}
	}
	return ix.with(roots)
}

// indexPath is the file that --index names, or the user's.
func indexPath(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	return index.DefaultPath()
}

func (ix *indexing) check(roots []string) error {
	switch {
	case ix.forget && len(roots) == 0:
		return usageErrorf(ix.cmd, "--forget: want the folders to drop")
	case ix.forget && ix.watching:
		return usageErrorf(ix.cmd, "--forget and --watch do not go together")
	case ix.noThumbnails && ix.cmd.Flags().Changed("thumbnails"):
		return usageErrorf(ix.cmd, "--no-thumbnails and --thumbnails do not go together")
	}
	for _, root := range roots {
		if root == "" { // which would be the current folder
			return usageErrorf(ix.cmd, "a folder's name is empty")
		}
		info, err := os.Stat(root)
		if err == nil && !info.IsDir() {
			err = errors.New("is no folder")
		}
		if err != nil && !ix.forget {
			return &inputError{root, err}
		}
	}
	return ix.search.check(ix.cmd)
}

// with updates the index, which it makes where there is none. The model that an index names
// is loaded when there is something to encode, another one at once.
func (ix *indexing) with(roots []string) error {
	if err := ix.chooseModel(ix.cmd, ix.x); err != nil {
		return err
	}
	if ix.x != nil && ix.model == ix.x.Options().Model {
		return ix.keepUpdated(ix.cmd.Context(), roots)
	}
	if ix.x == nil {
		if err := ix.checkNew(); err != nil {
			return err
		}
	}
	return withModel(ix.cmd, ix.globals, func(ctx context.Context, s *session) error {
		prepare := ix.create
		if ix.x != nil {
			prepare = ix.moveModel
		}
		if err := prepare(ctx, s); err != nil {
			return err
		}
		ix.s = s
		return ix.keepUpdated(ctx, roots)
	})
}

// create makes the index.
func (ix *indexing) create(ctx context.Context, s *session) error {
	if err := s.mustEncode(imageTower); err != nil {
		return err
	}
	o, err := search.Options(ctx, s.model, ix.model)
	if err != nil {
		return err
	}
	ix.x, err = index.Create(ix.path, o)
	if errors.Is(err, fs.ErrExist) { // since checkNew
		err = fmt.Errorf("index %s: %w", ix.path, index.ErrInUse)
	}
	return err
}

// moveModel makes the index name the model by where it is now.
func (ix *indexing) moveModel(ctx context.Context, s *session) error {
	err := ix.use(ctx, s)
	if err == nil {
		err = ix.x.SetModel(ix.model)
	}
	if err != nil {
		return err
	}
	moved, err := index.Open(ix.path)
	if err != nil {
		return err // the caller closes the one that is open
	}
	ix.x.Close()
	ix.x = moved
	return nil
}

// checkNew tells before a model is loaded, which may take long, where no index can be made.
func (ix *indexing) checkNew() error {
	if err := os.MkdirAll(filepath.Dir(ix.path), 0o777); err != nil {
		return err
	}
	f, err := atomicfile.Create(ix.path, false)
	if err == nil {
		f.Discard()
	}
	return err
}

// use checks that the session's model makes the index's vectors.
func (ix *indexing) use(ctx context.Context, s *session) error {
	o, err := search.Options(ctx, s.model, ix.model)
	if err != nil {
		return err
	}
	if o.Identity != ix.x.Options().Identity {
		return fmt.Errorf("index %s has vectors of model %s as it was when the index was made, with --adapter and --config as they were then: %s has other weights or preprocessing; --index makes another",
			ix.path, ix.x.Options().Model, ix.model)
	}
	return nil
}

// keepUpdated updates the index once or, with --watch, until ctx ends.
func (ix *indexing) keepUpdated(ctx context.Context, roots []string) error {
	if !ix.watching {
		return ix.update(ctx, roots)
	}
	return ix.watch(ctx, roots)
}

// update updates the index and tells what was done.
func (ix *indexing) update(ctx context.Context, roots []string) error {
	start := time.Now()
	o := index.UpdateOptions{
		Hidden: ix.search.Hidden, ExcludeDirs: ix.search.ExcludeDirs, MaxThumbnails: int64(ix.thumbnails),
		Progress: func(p index.Progress) { ix.line.progressOf(p) },
		Failed:   func(f index.Failure) { ix.line.problem("skipped: %v", &inputError{f.Path, f.Err}) },
	}
	if ix.noThumbnails {
		o.MaxThumbnails = 0
	}
	report, err := ix.x.Update(ctx, roots, ix.encode, o)
	ix.line.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{exitInterrupted, fmt.Sprintf("interrupted: %s encoded, which are in %s", plural(report.Encoded, "picture"), ix.path)}
	}
	var missing *index.FolderError
	if err != nil && (!errors.As(err, &missing) || report.Found == 0) {
		return err
	}
	told := ix.tell(ctx, report, time.Since(start))
	return cmp.Or(err, told)
}

// encode is the index's encoder. Its error is yielded, too.
func (ix *indexing) encode(ctx context.Context, pictures iter.Seq[index.Decoding]) iter.Seq2[index.Encoded, error] {
	return func(yield func(index.Encoded, error) bool) {
		work := func(ctx context.Context, s *session) error {
			ix.line.clear()
			ix.line = s.console
			defer func() { ix.line.clear(); ix.line = ix.console() }()
			for e, err := range search.Encoder(s.model, s.batch)(ctx, pictures) {
				s.cancelStartNote()
				if err != nil {
					return err
				}
				if !yield(e, nil) {
					return nil
				}
			}
			return nil
		}
		var err error
		if ix.s != nil {
			err = work(ctx, ix.s)
		} else {
			err = withModel(ix.cmd, ix.globals, func(ctx context.Context, s *session) error {
				if err := ix.use(ctx, s); err != nil {
					return err
				}
				return work(ctx, s)
			})
		}
		if err != nil {
			yield(index.Encoded{}, err)
		}
	}
}

// progressOf shows how far an update is.
func (c *console) progressOf(p index.Progress) {
	if p.Total == 0 {
		c.update("%s found", plural(p.Found, "picture"))
		return
	}
	rate := float64(p.Done) / p.Spent.Seconds()
	left := time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second)).Round(time.Second)
	c.update("%d of %s, %.1f/s, %v left", p.Done, plural(p.Total, "picture"), rate, left)
}

// indexed is what --json writes of an update.
type indexed struct {
	Index       rawText `json:"index"`
	Model       rawText `json:"model"`
	Pictures    int     `json:"pictures"`
	Found       int     `json:"found"`
	Encoded     int     `json:"encoded"`
	Known       int     `json:"known"`
	Removed     int     `json:"removed"`
	Failed      int     `json:"failed"`
	StillFailed int     `json:"still_failed"`
	Seconds     float64 `json:"seconds"`
}

// tell writes what an update did. Its error tells of files that could not be read.
func (ix *indexing) tell(ctx context.Context, r index.Report, took time.Duration) error {
	n, err := ix.x.Len(ctx)
	if err != nil {
		return err
	}
	if ix.json {
		err = newJSONLines(ix.cmd.OutOrStdout()).Encode(indexed{rawText(ix.path), rawText(ix.x.Options().Model), n,
			r.Found, r.Encoded, r.Known, r.Removed, r.Failed, r.StillFailed, significant(took.Seconds())})
	} else {
		_, err = fmt.Fprintf(ix.cmd.OutOrStdout(), "%s in %s: %d new, %d copied or renamed, %d removed, in %v\n",
			plural(n, "picture"), ix.path, r.Encoded, r.Known, r.Removed, took.Round(10*time.Millisecond))
	}
	if err != nil {
		return err
	}
	ix.line.noteLeftOut(r.LeftOut)
	if r.StillFailed > 0 {
		ix.line.note("%s could not be read before and have not changed since", plural(r.StillFailed, "file"))
	}
	if r.Failed > 0 {
		return &exitError{exitSkipped, fmt.Sprintf("%s could not be read", plural(r.Failed, "file"))}
	}
	return nil
}

// drop drops folders from the index.
func (ix *indexing) drop(folders []string) error {
	n, err := ix.x.Forget(ix.cmd.Context(), folders)
	if err != nil {
		return err
	}
	if ix.json {
		return newJSONLines(ix.cmd.OutOrStdout()).Encode(struct {
			Index   rawText `json:"index"`
			Removed int     `json:"removed"`
		}{rawText(ix.path), n})
	}
	_, err = fmt.Fprintf(ix.cmd.OutOrStdout(), "%s dropped from %s\n", plural(n, "file"), ix.path)
	return err
}
