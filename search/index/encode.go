package index

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/half"
)

// hash is the first half of the SHA-256 of a file.
type hash [16]byte

// errCopy: another file has the same content, or had it.
var errCopy = errors.New("the content is known")

// encode gives what is to do to the encoder, and writes what comes back.
func (u *update) encode(ctx context.Context, encode Encoder) error {
	pictures := func(yield func(Decoding) bool) {
		for _, f := range u.todo {
			if !yield(u.picture(ctx, f)) {
				return
			}
		}
	}
	if len(u.todo) == 0 {
		return ctx.Err()
	}
	var err error
	if u.findHash, err = u.db.Prepare(`SELECT id FROM contents WHERE hash = ?`); err != nil {
		return failed(u.path, err)
	}
	defer u.findHash.Close()
	start, done := time.Now(), 0
	for e, err := range encode(ctx, pictures) {
		if err == nil && e.Err != nil {
			err = ctx.Err() // which may be the picture's, and says nothing of it
		}
		if err != nil {
			return err
		}
		if done == len(u.todo) {
			return errors.New("the encoder gave more vectors than there are pictures")
		}
		f := u.todo[done]
		if e.Err == nil && len(e.Vector) != u.options.Dim {
			return fmt.Errorf("a vector of %d values, the index %s has %d", len(e.Vector), u.path, u.options.Dim)
		}
		if err := u.take(f, e); err != nil {
			return failed(u.path, err)
		}
		f.thumbnail = nil
		done++
		u.tell(Progress{Found: u.report.Found, Total: len(u.todo), Done: done, Spent: time.Since(start)})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if done < len(u.todo) {
		return fmt.Errorf("the encoder gave %d vectors of %d", done, len(u.todo))
	}
	return nil
}

// picture reads a file: what is known by its hash is not decoded. Encoders call it on
// several threads.
func (u *update) picture(ctx context.Context, f *file) Decoding {
	return func(d *preprocess.Decoder, opts ...preprocess.Option) (img *preprocess.Image, err error) {
		defer func() { f.passing = isPassing(err) }()
		hashed := preprocess.WithContent(func(data []byte) error {
			sum := sha256.Sum256(data)
			copy(f.hash[:], sum[:])
			return u.claim(f)
		})
		img, err = d.DecodeFile(f.path, append(slices.Clip(opts), hashed, preprocess.WithContext(ctx))...)
		if changed := f.check(); changed != nil {
			return nil, changed
		}
		if err != nil {
			return nil, err
		}
		f.width, f.height = img.FullSize()
		f.taken = img.Taken()
		if u.thumbnails != nil {
			f.thumbnail, err = encodeThumbnail(img)
		}
		return img, err
	}
}

// check tells whether the file is still what the walk has found.
func (f *file) check() error {
	info, err := os.Stat(f.path)
	if err == nil && (info.Size() != f.size || info.ModTime().UnixNano() != f.modified) {
		err = passingError{errors.New("it was changed while it was read")}
	}
	return err
}

// passingError is an error that may be gone next time.
type passingError struct{ error }

// isPassing tells such errors, which those of the system are, from those of contents.
func isPassing(err error) bool {
	var passing passingError
	var number syscall.Errno
	return errors.As(err, &passing) || errors.As(err, &number)
}

// claim is a new content, which one of the files that have it stands for.
type claim struct {
	done    bool
	err     error   // why it has no vector
	passing bool    // as that of the file
	waiting []*file // copies that came before it was done
}

// claim makes f stand for its content. It is errCopy where that is known or another file
// stands for it.
func (u *update) claim(f *file) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.claims[f.hash] != nil {
		return errCopy
	}
	var id int64
	switch err := u.findHash.QueryRow(f.hash[:]).Scan(&id); {
	case err == nil:
		return errCopy
	case !errors.Is(err, sql.ErrNoRows):
		return passingError{failed(u.path, err)}
	}
	f.claims, u.claims[f.hash] = true, &claim{}
	return nil
}

func (u *update) claimOf(h hash) *claim {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.claims[h]
}

// take writes what became of a file, and of the copies that wait for it.
func (u *update) take(f *file, e Encoded) error {
	c := u.claimOf(f.hash)
	switch {
	case errors.Is(e.Err, errCopy) && c != nil && !c.done:
		c.waiting = append(c.waiting, f)
		return nil
	case errors.Is(e.Err, errCopy) && c != nil && c.err != nil:
		f.passing = c.passing
		return u.write(f, 0, c.err)
	case errors.Is(e.Err, errCopy):
		content, err := u.get(`SELECT id FROM contents WHERE hash = ?`, f.hash[:])
		if err != nil {
			return err
		}
		return u.write(f, content, nil)
	}
	var content int64
	if e.Err == nil {
		var err error
		if content, err = u.writeContent(f, e.Vector); err != nil {
			return err
		}
	}
	if err := u.write(f, content, e.Err); err != nil || !f.claims {
		return err
	}
	if e.Err != nil && f.passing { // which is not the fault of the copies: they are there
		e.Err = fmt.Errorf("%s, which has the same content, was changed while it was read", f.path)
	}
	for _, copied := range c.waiting {
		copied.passing = f.passing
		if err := u.write(copied, content, e.Err); err != nil {
			return err
		}
	}
	*c = claim{done: true, err: e.Err, passing: f.passing}
	return nil
}

// writeContent writes a new picture and returns its id.
func (u *update) writeContent(f *file, vector []float32) (int64, error) {
	var taken any
	if !f.taken.IsZero() {
		taken = f.taken.Unix()
	}
	id, err := u.get(`INSERT INTO contents (hash, width, height, taken) VALUES (?, ?, ?, ?) RETURNING id`, f.hash[:], f.width, f.height, taken)
	if err != nil {
		return 0, err
	}
	data := make([]byte, 0, 2*len(vector))
	for _, v := range vector {
		data = binary.LittleEndian.AppendUint16(data, half.F32ToF16(v))
	}
	if err := u.exec(`INSERT INTO loose VALUES (?, ?)`, id, data); err != nil {
		return 0, err
	}
	if f.thumbnail == nil {
		return id, nil
	}
	return id, u.thumbnails.add(f.hash[:], f.thumbnail)
}

// write writes the row of a file with its content, or without one and why. An error that
// may pass leaves what was known.
func (u *update) write(f *file, content int64, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	var failure, is any
	switch {
	case errors.Is(err, fs.ErrNotExist):
		delete(u.seen, f.id)
		return nil
	case err != nil:
		if u.fail(f.path, err); f.passing {
			return nil
		}
		failure = err.Error()
	case f.claims:
		is = content
		u.report.Encoded++
	default:
		is = content
		u.report.Known++
	}
	folder, err := u.folder(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	id, err := u.get(`INSERT INTO files (folder, name, size, modified, content, failure) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (folder, name) DO UPDATE SET size = excluded.size, modified = excluded.modified, content = excluded.content, failure = excluded.failure
		RETURNING id`, folder, []byte(filepath.Base(f.path)), f.size, f.modified, is, failure)
	if err != nil {
		return err
	}
	if u.seen[id] = true; f.content != 0 && f.content != content {
		if err := u.exec(`INSERT OR IGNORE INTO orphans VALUES (?)`, f.content); err != nil {
			return err
		}
	}
	return u.wrote()
}

// folder is the row of a folder, made where there is none.
func (u *update) folder(path string) (int64, error) {
	if id := u.folders[path]; id != 0 {
		return id, nil
	}
	id, err := u.get(`INSERT INTO folders (path) VALUES (?) ON CONFLICT (path) DO UPDATE SET path = path RETURNING id`, []byte(path))
	u.folders[path] = id
	return id, err
}
