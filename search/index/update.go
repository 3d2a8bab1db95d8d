package index

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/walk"
)

// Decoding decodes a file in the way of opts into d's memory, as preprocess.Picture does.
type Decoding func(d *preprocess.Decoder, opts ...preprocess.Option) (*preprocess.Image, error)

// Encoder decodes and encodes pictures and yields what became of each, in order, as
// clip.Model.EncodePictures does. It ranges over them in any goroutine, and calls them in
// any, each once. An error that is not of one picture ends it.
type Encoder func(ctx context.Context, pictures iter.Seq[Decoding]) iter.Seq2[Encoded, error]

// Encoded is a picture's unit vector, or why it has none.
type Encoded struct {
	Vector []float32
	Err    error
}

// UpdateOptions say what Update takes and tells.
type UpdateOptions struct {
	Hidden        bool           // hidden files and folders, too
	ExcludeDirs   []string       // names of folders to leave out, as filepath.Match takes them
	MaxThumbnails int64          // bytes that the thumbnails' file may have; 0: none are made
	Progress      func(Progress) // called from time to time; may be nil
	Failed        func(Failure)  // called for each file that cannot be read; may be nil
}

// Progress is how far an update is.
type Progress struct {
	Found       int           // pictures that the folders have, as far as they were searched
	Total, Done int           // new and changed files; Total is 0 until all are found
	Spent       time.Duration // since the first of them was begun
}

// Failure is a file that is no picture, or cannot be read.
type Failure struct {
	Path string
	Err  error
}

// Report tells what an update did.
type Report struct {
	Found       int            // pictures in the folders
	Encoded     int            // pictures that got a vector
	Known       int            // new or changed files with the content of another: copies and renames
	Removed     int            // files that are gone
	Failed      int            // files that could not be read
	StillFailed int            // files that could not be read before and have not changed since
	LeftOut     map[string]int // pictures of formats that are not read, by format
}

// Update brings the index up to date with the pictures in and below roots, which are added
// to it: new and changed files get vectors from encode, which those of the index must be
// comparable with; files that are gone are dropped. Files whose size and time have not
// changed are not read. Whatever ends it, what was done stays, and the next update goes on
// from there.
//
// A root that is not there, or that has no pictures where the index has some, as the folder
// of a disk that is not plugged in, keeps what the index has of it. The error is then a
// *FolderError, once the other roots are done. Forget drops such a root.
// While another process updates the index the error is ErrInUse.
func (x *Index) Update(ctx context.Context, roots []string, encode Encoder, o UpdateOptions) (report Report, err error) {
	if roots, err = distinct(roots, o.reaches); err != nil {
		return Report{}, err
	}
	w, err := newWriter(x.path, x.options.Dim, o.MaxThumbnails)
	if err != nil {
		return Report{}, failed(x.path, err)
	}
	defer func() { err = errors.Join(err, failed(x.path, w.close())) }()
	if err := w.packAll(ctx); err != nil {
		return Report{}, failed(x.path, err)
	}
	u := &update{Index: x, UpdateOptions: o, writer: w, report: Report{LeftOut: map[string]int{}},
		seen: map[int64]bool{}, folders: map[string]int64{}, claims: map[hash]*claim{}}
	good, err := u.searchAll(ctx, roots)
	if err != nil {
		return u.report, err
	}
	if err := u.addRoots(ctx, good); err != nil {
		return u.report, failed(x.path, err)
	}
	// What is done is kept, also of an update that is ended.
	err = u.encode(ctx, encode)
	if ended := failed(x.path, w.commit()); ended != nil {
		return u.report, ended
	}
	if err != nil {
		return u.report, err
	}
	if err := u.drop(ctx, good); err != nil {
		return u.report, err
	}
	return u.report, errors.Join(u.bad...)
}

// update is one Update.
type update struct {
	*Index
	UpdateOptions
	*writer
	report Report
	bad    []error // FolderErrors

	todo    []*file          // new and changed
	seen    map[int64]bool   // rows of files that are there
	kept    []string         // files and folders that cannot be read: what is known of them stays
	folders map[string]int64 // rows of folders

	findHash *sql.Stmt // finds a content

	mu     sync.Mutex // around claims
	claims map[hash]*claim
}

// reaches tells whether an update of a root looks into a folder: into one below it, unless
// that is left out or behind a link.
func (o UpdateOptions) reaches(root, folder string) bool {
	return contains(root, folder) && walk.Options{Hidden: o.Hidden, ExcludeDirs: o.ExcludeDirs}.Reaches(root, folder)
}

// distinct are folders with their full paths, without those that others have.
func distinct(folders []string, has func(root, folder string) bool) ([]string, error) {
	var all []string
	for _, folder := range folders {
		full, err := filepath.Abs(folder)
		if err != nil {
			return nil, err
		}
		all = append(all, full)
	}
	slices.Sort(all)
	var roots []string
	for _, folder := range all {
		if !slices.ContainsFunc(roots, func(root string) bool { return has(root, folder) }) {
			roots = append(roots, folder)
		}
	}
	return roots, nil
}

// contains tells whether a path is a folder's or below it.
func contains(folder, path string) bool {
	first, _ := below(folder)
	return path == folder || strings.HasPrefix(path, string(first))
}

// addRoots notes roots, but those that others reach.
func (u *update) addRoots(ctx context.Context, roots []string) error {
	known, err := u.Roots(ctx)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if slices.ContainsFunc(known, func(k string) bool { return u.reaches(k, root) }) {
			continue
		}
		if err := u.exec(`INSERT OR IGNORE INTO roots VALUES (?)`, []byte(root)); err != nil {
			return err
		}
	}
	if len(roots) > 0 && u.open {
		return u.commit()
	}
	return nil
}

// Forget drops the pictures of the files in and below folders, and the folders themselves
// where they are roots. It tells how many files that were.
func (x *Index) Forget(ctx context.Context, folders []string) (removed int, err error) {
	roots, err := distinct(folders, contains)
	if err != nil {
		return 0, err
	}
	w, err := newWriter(x.path, x.options.Dim, 0)
	if err != nil {
		return 0, failed(x.path, err)
	}
	defer func() { err = errors.Join(err, failed(x.path, w.close())) }()
	u := &update{Index: x, writer: w}
	for _, root := range roots {
		first, end := below(root)
		if err := u.exec(`DELETE FROM roots WHERE path = ? OR path >= ? AND path < ?`, []byte(root), first, end); err != nil {
			return 0, failed(x.path, err)
		}
		if err := u.dropBelow(ctx, root, nil); err != nil {
			return 0, err
		}
	}
	if err = u.sweep(); err == nil {
		err = u.commit() // also where no picture has gone
	}
	return u.report.Removed, failed(x.path, err)
}

// SetModel changes where the index's model comes from: to be asked of an Index that is
// opened from then on. The caller has compared the model's identity with the index's.
func (x *Index) SetModel(source string) (err error) {
	w, err := newWriter(x.path, x.options.Dim, 0)
	if err != nil {
		return failed(x.path, err)
	}
	defer func() { err = errors.Join(err, failed(x.path, w.close())) }()
	if err = w.exec(`UPDATE meta SET value = ? WHERE key = 'model'`, source); err == nil {
		err = w.commit()
	}
	return failed(x.path, err)
}
