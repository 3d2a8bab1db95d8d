package index

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// Encoder encodes pictures and yields what became of each, in order, as
// clip.Model.EncodePictures does. It ranges over them in any goroutine. An error that is
// not of one picture ends it.
type Encoder func(ctx context.Context, pictures iter.Seq[preprocess.Picture]) iter.Seq2[Encoded, error]

// Encoded is a picture's unit vector, or why it has none.
type Encoded struct {
	Vector []float32
	Err    error
}

// UpdateOptions say what Update takes and tells.
type UpdateOptions struct {
	Hidden        bool                // hidden files and folders, too
	ExcludeDirs   []string            // names of folders to leave out, as filepath.Match takes them
	Decode        []preprocess.Option // how pictures are decoded
	MaxThumbnails int64               // bytes that the thumbnails' file may have; 0: none are made
	Progress      func(Progress)      // called from time to time; may be nil
	Failed        func(Failure)       // called for each file that cannot be read; may be nil
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
// to it: new and changed files get vectors from encode, which those of Options must be
// comparable with; files that are gone are dropped. Whatever ends it, what was done stays,
// and the next update goes on from there. While another process updates the index the
// error is ErrInUse.
func (x *Index) Update(ctx context.Context, roots []string, encode Encoder, o UpdateOptions) (Report, error) {
	return Report{}, errors.New("not yet")
}

// Thumbnail is a JPEG of a picture, at most 256 pixels wide and high.
func (x *Index) Thumbnail(ctx context.Context, id int64) ([]byte, error) {
	return nil, errors.New("not yet")
}
