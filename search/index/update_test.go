package index

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// picture is a JPEG of one gray, of 40 by 20 pixels.
func picture(t testing.TB, gray uint8) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 40, 20))
	for i := range img.Pix {
		img.Pix[i] = gray
	}
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, img, nil))
	return out.Bytes()
}

func put(t testing.TB, data []byte, path ...string) string {
	t.Helper()
	full := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o777))
	require.NoError(t, os.WriteFile(full, data, 0o666))
	return full
}

// encoder makes vectors of a picture's first pixel, some pictures at once, and counts them.
func encoder(encoded *int) Encoder {
	const atOnce = 4
	return func(ctx context.Context, pictures iter.Seq[Decoding]) iter.Seq2[Encoded, error] {
		return func(yield func(Encoded, error) bool) {
			var batch []Decoding
			flush := func() bool {
				results := make([]Encoded, len(batch))
				done := make(chan bool)
				for i, p := range batch {
					go func() { results[i] = encodeOne(p); done <- true }()
				}
				for range batch {
					<-done
				}
				batch = nil
				for _, r := range results {
					if r.Err == nil {
						*encoded++
					}
					if !yield(r, ctx.Err()) || ctx.Err() != nil {
						return false
					}
				}
				return true
			}
			for p := range pictures {
				if batch = append(batch, p); len(batch) == atOnce && !flush() {
					return
				}
			}
			flush()
		}
	}
}

func encodeOne(open Decoding) Encoded {
	img, err := open(new(preprocess.Decoder), preprocess.WithOrientation())
	if err != nil {
		return Encoded{Err: err}
	}
	return Encoded{Vector: []float32{float32(img.RGB()[0]) / 255, 0, -1, 0.5}}
}

// updated updates x, requires that no error came, and tells how many were encoded.
func updated(t *testing.T, x *Index, roots ...string) (Report, int) {
	t.Helper()
	encoded := 0
	report, err := x.Update(t.Context(), roots, encoder(&encoded), UpdateOptions{MaxThumbnails: 1 << 20})
	require.NoError(t, err)
	assert.Equal(t, encoded, report.Encoded)
	return report, encoded
}

// A picture that was not decoded because the update was ended is none that failed.
func TestEndedUpdateFailsNoPictures(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	put(t, picture(t, 10), folder, "a.jpg")
	ctx, cancel := context.WithCancel(t.Context())
	ending := func(_ context.Context, pictures iter.Seq[Decoding]) iter.Seq2[Encoded, error] {
		return func(yield func(Encoded, error) bool) {
			for p := range pictures {
				cancel()
				e := encodeOne(p)
				require.ErrorIs(t, e.Err, context.Canceled)
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	report, err := x.Update(ctx, []string{folder}, ending, UpdateOptions{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, report.Failed)
	_, encoded := updated(t, x, folder)
	assert.Equal(t, 1, encoded)
}

// all are the index's pictures.
func all(t *testing.T, x *Index) []Picture {
	t.Helper()
	var ids []int64
	require.NoError(t, x.Scan(t.Context(), func(some []int64, vectors []byte) error {
		ids = append(ids, some...)
		assert.Len(t, vectors, 2*x.Options().Dim*len(some))
		return nil
	}))
	n, err := x.Len(t.Context())
	require.NoError(t, err)
	assert.Equal(t, n, len(ids))
	pictures, err := x.Pictures(t.Context(), ids)
	require.NoError(t, err)
	require.Len(t, pictures, len(ids), "all have files")
	return pictures
}

// names are the pictures' files below folder, sorted.
func names(t *testing.T, x *Index, folder string) []string {
	var names []string
	for _, p := range all(t, x) {
		for _, path := range p.Paths {
			name, err := filepath.Rel(folder, path)
			require.NoError(t, err)
			names = append(names, filepath.ToSlash(name))
		}
	}
	slices.Sort(names)
	return names
}

func TestUpdateIsIncremental(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	put(t, picture(t, 10), folder, "a.jpg")
	put(t, picture(t, 20), folder, "b", "c.jpg")
	put(t, picture(t, 30), folder, ".hidden.jpg")
	put(t, picture(t, 30), folder, "@eaDir", "d.jpg")
	report, encoded := updated(t, x, folder)
	assert.Equal(t, 2, encoded)
	assert.Equal(t, 2, report.Found)
	assert.Equal(t, []string{"a.jpg", "b/c.jpg"}, names(t, x, folder))
	version, err := x.Version(t.Context())
	require.NoError(t, err)

	report, encoded = updated(t, x, folder)
	assert.Zero(t, encoded)
	assert.Equal(t, Report{Found: 2, LeftOut: map[string]int{}}, report)
	again, err := x.Version(t.Context())
	require.NoError(t, err)
	assert.Equal(t, version, again, "nothing has changed")

	put(t, picture(t, 11), folder, "a.jpg")
	require.NoError(t, os.Chtimes(filepath.Join(folder, "a.jpg"), time.Time{}, time.Unix(1e9, 0)))
	_, encoded = updated(t, x, folder)
	assert.Equal(t, 1, encoded)
	assert.Equal(t, []string{"a.jpg", "b/c.jpg"}, names(t, x, folder))
	roots, err := x.Roots(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{folder}, roots)
}

// Copies and renamed files have the content of others: none is encoded again.
func TestCopiesAndRenames(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	for _, name := range []string{"a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "z.jpg"} {
		put(t, picture(t, 10), folder, name)
	}
	put(t, picture(t, 20), folder, "other.jpg")
	report, encoded := updated(t, x, folder)
	assert.Equal(t, 2, encoded)
	assert.Equal(t, 5, report.Known)
	assert.Len(t, all(t, x), 2)

	require.NoError(t, os.Rename(filepath.Join(folder, "other.jpg"), filepath.Join(folder, "new.jpg")))
	report, encoded = updated(t, x, folder)
	assert.Zero(t, encoded)
	assert.Equal(t, 1, report.Known)
	assert.Equal(t, 1, report.Removed)

	// Two files that change places.
	put(t, picture(t, 20), folder, "a.jpg")
	for _, name := range []string{"b.jpg", "c.jpg", "d.jpg", "e.jpg", "z.jpg"} {
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
	}
	put(t, picture(t, 10), folder, "new.jpg")
	old := time.Unix(1e9, 0)
	require.NoError(t, os.Chtimes(filepath.Join(folder, "a.jpg"), old, old))
	require.NoError(t, os.Chtimes(filepath.Join(folder, "new.jpg"), old, old))
	report, encoded = updated(t, x, folder)
	assert.Zero(t, encoded)
	assert.Equal(t, 5, report.Removed)
	assert.Equal(t, []string{"a.jpg", "new.jpg"}, names(t, x, folder))
}

func TestFilesThatAreGone(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	put(t, picture(t, 10), folder, "a.jpg")
	put(t, picture(t, 20), folder, "b", "c.jpg")
	put(t, picture(t, 30), folder, "b2", "c.jpg")
	updated(t, x, folder)
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "b")))
	report, encoded := updated(t, x, folder)
	assert.Zero(t, encoded)
	assert.Equal(t, 1, report.Removed)
	assert.Equal(t, []string{"a.jpg", "b2/c.jpg"}, names(t, x, folder))

	for name, gone := range map[string]func(){
		"no pictures": func() {
			require.NoError(t, os.Remove(filepath.Join(folder, "a.jpg")))
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "b2")))
		},
		"no such file": func() { require.NoError(t, os.Remove(folder)) },
	} {
		if name == "no such file" {
			continue // after the other
		}
		gone()
		encoded := 0
		_, err := x.Update(t.Context(), []string{folder}, encoder(&encoded), UpdateOptions{})
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, folder)
		assert.Len(t, all(t, x), 2)
	}
	require.NoError(t, os.Remove(folder))
	_, err := x.Update(t.Context(), []string{folder}, nil, UpdateOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Len(t, all(t, x), 2)

	other := t.TempDir()
	put(t, picture(t, 40), other, "a.jpg")
	report, err = x.Update(t.Context(), []string{folder, other}, encoder(new(int)), UpdateOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, 1, report.Encoded, "the other root is done")
	assert.Len(t, all(t, x), 3)
	_, err = x.Forget(t.Context(), []string{other})
	require.NoError(t, err)

	removed, err := x.Forget(t.Context(), []string{folder})
	require.NoError(t, err)
	assert.Equal(t, 2, removed)
	assert.Empty(t, all(t, x))
	roots, err := x.Roots(t.Context())
	require.NoError(t, err)
	assert.Empty(t, roots)

	empty := t.TempDir()
	updated(t, x, empty)
	_, err = x.Forget(t.Context(), []string{empty})
	require.NoError(t, err)
	roots, err = x.Roots(t.Context())
	require.NoError(t, err)
	assert.Empty(t, roots, "also those without pictures")
}

// Folders that their root's update does not look into, hidden ones or links, are roots of
// their own where they are named.
func TestRootsBelowRoots(t *testing.T) {
	x, folder, away := newIndex(t), t.TempDir(), t.TempDir()
	hidden, link := filepath.Join(folder, ".hidden"), filepath.Join(folder, "link")
	put(t, picture(t, 10), folder, "b", "c.jpg")
	put(t, picture(t, 20), hidden, "a.jpg")
	put(t, picture(t, 30), away, "a.jpg")
	if err := os.Symlink(away, link); err != nil {
		t.Skip(err) // not everybody makes links on Windows
	}
	want := []string{".hidden/a.jpg", "b/c.jpg", "link/a.jpg"}
	_, encoded := updated(t, x, folder, hidden, link, filepath.Join(folder, "b"))
	assert.Equal(t, 3, encoded)
	assert.Equal(t, want, names(t, x, folder))
	roots, err := x.Roots(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{folder, hidden, link}, roots)
	for _, some := range [][]string{{folder}, roots, {hidden}} {
		report, _ := updated(t, x, some...)
		assert.Zero(t, report.Removed)
	}
	require.NoError(t, os.Rename(away, away+"-away"))
	_, err = x.Update(t.Context(), roots, encoder(new(int)), UpdateOptions{})
	require.ErrorContains(t, err, link)
	assert.Equal(t, want, names(t, x, folder))
	require.NoError(t, os.Rename(away+"-away", away))

	put(t, picture(t, 21), hidden, "b.jpg")
	require.NoError(t, os.Remove(filepath.Join(hidden, "a.jpg")))
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "b")))
	_, err = x.Update(t.Context(), roots, encoder(new(int)), UpdateOptions{})
	require.ErrorContains(t, err, "the index has 1", "all that is of the folder alone is gone")
	assert.Equal(t, []string{".hidden/b.jpg", "b/c.jpg", "link/a.jpg"}, names(t, x, folder))
}

func TestFilesThatCannotBeRead(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	bad := put(t, []byte("no picture"), folder, "bad.jpg")
	for _, name := range []string{"bad copy.jpg", "bad1.jpg", "bad2.jpg", "bad3.jpg"} {
		put(t, []byte("no picture"), folder, name)
	}
	put(t, picture(t, 10), folder, "a.jpg")
	var failures []Failure
	o, encoded := UpdateOptions{Failed: func(f Failure) { failures = append(failures, f) }}, 0
	report, err := x.Update(t.Context(), []string{folder}, encoder(&encoded), o)
	require.NoError(t, err)
	assert.Equal(t, 5, report.Failed)
	require.Len(t, failures, 5)
	for _, f := range failures {
		assert.ErrorIs(t, f.Err, preprocess.ErrUnsupportedFormat)
	}

	failures = nil
	report, err = x.Update(t.Context(), []string{folder}, encoder(&encoded), o)
	require.NoError(t, err)
	assert.Equal(t, 5, report.StillFailed)
	assert.Zero(t, report.Failed)
	assert.Empty(t, failures)

	put(t, picture(t, 20), bad)
	report, err = x.Update(t.Context(), []string{folder}, encoder(&encoded), o)
	require.NoError(t, err)
	assert.Equal(t, 1, report.Encoded)
	assert.Equal(t, []string{"a.jpg", "bad.jpg"}, names(t, x, folder))
	put(t, []byte("again"), bad)
	report, err = x.Update(t.Context(), []string{folder}, encoder(&encoded), o)
	require.NoError(t, err)
	assert.Equal(t, 1, report.Failed)
	assert.Equal(t, []string{"a.jpg"}, names(t, x, folder))
}

// An update that ends early keeps what was done, and the next one goes on.
func TestUpdatesGoOn(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	for i := range 10 {
		put(t, picture(t, uint8(25*i)), folder, string(rune('a'+i))+".jpg")
	}
	ctx, cancel := context.WithCancel(t.Context())
	encoded := 0
	report, err := x.Update(ctx, []string{folder}, encoder(&encoded), UpdateOptions{Progress: func(p Progress) {
		if p.Done == 4 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 4, report.Encoded)
	assert.Len(t, all(t, x), 4)
	report, _ = updated(t, x, folder)
	assert.Equal(t, 6, report.Encoded)
	assert.Len(t, all(t, x), 10)

	broken := errors.New("the device is lost")
	put(t, picture(t, 99), folder, "new.jpg")
	_, err = x.Update(t.Context(), []string{folder}, func(context.Context, iter.Seq[Decoding]) iter.Seq2[Encoded, error] {
		return func(yield func(Encoded, error) bool) { yield(Encoded{}, broken) }
	}, UpdateOptions{})
	require.ErrorIs(t, err, broken)
	assert.Len(t, all(t, x), 10)
}

func TestOneWriter(t *testing.T) {
	x, folder := newIndex(t), t.TempDir()
	put(t, picture(t, 10), folder, "a.jpg")
	encoded := 0
	_, err := x.Update(t.Context(), []string{folder}, encoder(&encoded), UpdateOptions{Progress: func(Progress) {
		second := 0
		_, err := x.Update(t.Context(), []string{folder}, encoder(&second), UpdateOptions{})
		require.ErrorIs(t, err, ErrInUse)
		require.ErrorContains(t, err, x.Path())
	}})
	require.NoError(t, err)
	assert.Len(t, all(t, x), 1)
}
