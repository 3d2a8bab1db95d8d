package index

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Thumbnails are JPEGs.
const (
	thumbnailSide    = 256
	thumbnailQuality = 80
)

// thumbnailsPath is the file of an index's thumbnails. It is a cache: what it lacks is made
// again.
func thumbnailsPath(index string) string { return index + ".thumbnails" }

// draftThumbnail decodes a picture as small as its thumbnail can be made from.
var draftThumbnail = sync.OnceValue(func() preprocess.Option {
	config := preprocess.DefaultConfig()
	config.Size, config.ResizeMode = [2]int{thumbnailSide, thumbnailSide}, "longest"
	t, err := preprocess.New(config)
	if err != nil {
		panic(err) // of constants
	}
	return t.Draft()
})

// encodeThumbnail makes a picture's thumbnail.
func encodeThumbnail(img *preprocess.Image) ([]byte, error) {
	var out bytes.Buffer
	err := jpeg.Encode(&out, img.Thumbnail(thumbnailSide), &jpeg.Options{Quality: thumbnailQuality})
	return out.Bytes(), err
}

// Thumbnail is a JPEG of a picture, at most 256 pixels wide and high. One that Update has
// not made, or that has been dropped since, is made from a file. Where the picture is gone
// the error matches fs.ErrNotExist.
func (x *Index) Thumbnail(ctx context.Context, id int64) ([]byte, error) {
	var hash []byte
	err := x.db.QueryRowContext(ctx, `SELECT hash FROM contents WHERE id = ?`, id).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("index %s: picture %d: %w", x.path, id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, failed(x.path, err)
	}
	if db := x.readCache(); db != nil {
		var data []byte
		if err := db.QueryRowContext(ctx, `SELECT jpeg FROM thumbnails WHERE hash = ?`, hash).Scan(&data); err == nil {
			return data, nil
		}
	}
	pictures, err := x.Pictures(ctx, []int64{id})
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("index %s: picture %d: %w", x.path, id, fs.ErrNotExist)
	for _, p := range pictures {
		for _, path := range p.Paths {
			img, failure := preprocess.DecodeFile(path, preprocess.WithOrientation(), draftThumbnail(), preprocess.WithContext(ctx))
			if failure == nil {
				return encodeThumbnail(img)
			}
			err = failure
		}
	}
	return nil, err
}

// readCache is the file of thumbnails for reading, nil where there is none yet.
func (x *Index) readCache() *sql.DB {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cache == nil {
		path := thumbnailsPath(x.path)
		if _, err := os.Stat(path); err != nil {
			return nil
		}
		db, err := sql.Open("sqlite", source(path, "mode", "rw", "_pragma", "busy_timeout(10000)", "_pragma", "query_only(1)"))
		if err != nil {
			return nil
		}
		x.cache = db
	}
	return x.cache
}

// thumbnails writes the file of thumbnails.
type thumbnails struct {
	path string
	max  int64 // bytes
	db   *sql.DB
	tx   *sql.Tx
	put  *sql.Stmt // of tx
}

// newThumbnails opens the file or makes it; a damaged one is made anew.
func newThumbnails(path string, max int64) (*thumbnails, error) {
	db, err := openThumbnails(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		db, err = remakeThumbnails(path)
	}
	if err != nil {
		return nil, fmt.Errorf("thumbnails %s: %w", filepath.Base(path), err)
	}
	return &thumbnails{path: path, max: max, db: db}, nil
}

// remakeThumbnails puts an empty file in the place of a damaged one that nobody writes.
func remakeThumbnails(path string) (*sql.DB, error) {
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		os.Remove(file)
	}
	return openThumbnails(path)
}

func openThumbnails(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", source(path, "_pragma", "busy_timeout(10000)", "_pragma", "auto_vacuum(2)",
		"_pragma", "journal_mode(WAL)", "_pragma", "synchronous(OFF)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS thumbnails (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, jpeg BLOB NOT NULL)`); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// add adds a thumbnail, the youngest.
func (t *thumbnails) add(hash, data []byte) error {
	err := t.insert(hash, data)
	if isDamaged(err) {
		if err = t.remake(); err == nil {
			err = t.insert(hash, data)
		}
	}
	return err
}

func (t *thumbnails) insert(hash, data []byte) error {
	if t.tx == nil {
		tx, err := t.db.Begin()
		if err != nil {
			return err
		}
		t.tx = tx
		if t.put, err = tx.Prepare(`INSERT OR REPLACE INTO thumbnails (hash, jpeg) VALUES (?, ?)`); err != nil {
			return err
		}
	}
	_, err := t.put.Exec(hash, data)
	return err
}

// isDamaged tells errors of a damaged file, which SQLite notices where it looks.
func isDamaged(err error) bool {
	var code *sqlite.Error
	return errors.As(err, &code) && (code.Code()&0xff == sqlite3.SQLITE_CORRUPT || code.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// remake goes on with an empty file.
func (t *thumbnails) remake() error {
	t.close()
	t.tx = nil
	db, err := remakeThumbnails(t.path)
	if err == nil {
		t.db = db
	}
	return err
}

// commit writes what was added, and drops the oldest where the file is too large.
func (t *thumbnails) commit() error {
	if t.tx == nil {
		return nil
	}
	tx := t.tx
	t.tx = nil
	err := tx.Commit()
	if err == nil {
		err = t.bound()
	}
	if isDamaged(err) {
		err = t.remake()
	}
	return err
}

// bound drops the oldest thumbnails where the file is too large.
func (t *thumbnails) bound() error {
	for {
		var used int64
		err := t.db.QueryRow(`SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&used)
		if err != nil || used <= t.max {
			return err
		}
		result, err := t.db.Exec(`DELETE FROM thumbnails WHERE id IN (SELECT id FROM thumbnails ORDER BY id LIMIT 64)`)
		if err != nil {
			return err
		}
		if _, err := t.db.Exec(`PRAGMA incremental_vacuum`); err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
	}
}

func (t *thumbnails) close() error {
	if t.tx != nil {
		t.tx.Rollback()
	}
	return t.db.Close()
}
