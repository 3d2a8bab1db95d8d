// Package index keeps the vectors of pictures, and what is known of their files, in one
// SQLite file.
//
// A picture is a content: files with the same bytes are one picture with several paths.
// Update brings an index up to date with folders; all else reads, also while another
// process updates.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// Options are what all vectors of an index have in common.
type Options struct {
	Model    string // the model's source, as clip.Load takes it
	Identity string // of what the vectors depend on, such as clip.Identity in JSON
	Dim      int    // values of a vector
}

// Index is an index on disk. It is safe for concurrent use.
type Index struct {
	path    string
	options Options
	db      *sql.DB // for reading

	mu    sync.Mutex // around cache
	cache *sql.DB    // thumbnails for reading, nil until the file is there
}

// DefaultPath is the index in the user's data folder: below $XDG_DATA_HOME or
// ~/.local/share, ~/Library/Application Support on macOS, %LocalAppData% on Windows.
func DefaultPath() (string, error) {
	folder := os.Getenv("XDG_DATA_HOME")
	if runtime.GOOS == "windows" {
		folder = os.Getenv("LocalAppData")
	}
	if !filepath.IsAbs(folder) { // the XDG specification has such ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no data folder for the index: %w", err)
		}
		below := map[string]string{"darwin": "Library/Application Support", "windows": "AppData/Local"}[runtime.GOOS]
		if below == "" {
			below = ".local/share"
		}
		folder = filepath.Join(home, filepath.FromSlash(below))
	}
	return filepath.Join(folder, "clip-wgpu", "pictures.db"), nil
}

// Create makes an empty index, and the folder that it is in, where there is nothing yet:
// else the error matches fs.ErrExist.
func Create(path string, o Options) (*Index, error) {
	if o.Dim < 1 || o.Dim > maxDim {
		return nil, fmt.Errorf("index %s: vectors of %d values, want 1 to %d", path, o.Dim, maxDim)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	if err := create(path, o); err != nil {
		return nil, failed(path, err)
	}
	return Open(path)
}

// maxDim bounds a vector to what fits a page of SQLite's without overflow pages many times.
const maxDim = 1 << 16

// Open opens an index. One of the format before this one is converted first, which nobody
// else may write meanwhile. Where it cannot be converted, the error matches ErrFormat and says
// what to do. The error matches fs.ErrNotExist where there is none, ErrNotIndex, ErrFormat or
// ErrDamaged.
func Open(path string) (*Index, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, failed(path, ErrNotIndex)
	}
	db, err := open(path, false)
	if errors.Is(err, errLoose) {
		if err = convert(path); err == nil {
			db, err = open(path, false)
		}
	}
	if err != nil {
		return nil, failed(path, err)
	}
	x := &Index{path: path, db: db}
	// SQLite takes what is left of a page. A writer that was killed leaves such with a log.
	if err = x.readOptions(); err == nil && info.Size()%pageSize != 0 && !hasLog(path) {
		err = ErrDamaged
	}
	if err != nil {
		db.Close()
		return nil, failed(path, err)
	}
	return x, nil
}

// Close ends the use of the index.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.db.Close()
	if x.cache != nil {
		err = errors.Join(err, x.cache.Close())
	}
	return err
}

// Path is the index's file.
func (x *Index) Path() string { return x.path }

// Options are what the index was created with.
func (x *Index) Options() Options { return x.options }

// Len is how many pictures the index has.
func (x *Index) Len(ctx context.Context) (int, error) {
	var n int
	err := x.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM contents) - (SELECT count(*) FROM orphans WHERE `+withoutFiles+`)`).Scan(&n)
	return n, failed(x.path, err)
}

// Version is a number that changes when the pictures do.
func (x *Index) Version(ctx context.Context) (int64, error) {
	var version string
	err := x.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'version'`).Scan(&version)
	if err != nil {
		return 0, failed(x.path, err)
	}
	n, err := strconv.ParseInt(version, 10, 64)
	return n, failed(x.path, err)
}

// Roots are the folders that the index was made of.
func (x *Index) Roots(ctx context.Context) ([]string, error) {
	rows, err := x.db.QueryContext(ctx, `SELECT path FROM roots ORDER BY path`)
	if err != nil {
		return nil, failed(x.path, err)
	}
	roots, err := collect[string](rows)
	return roots, failed(x.path, err)
}

// readOptions reads what the index was created with.
func (x *Index) readOptions() error {
	rows, err := x.db.Query(`SELECT key, value FROM meta`)
	if err != nil {
		return err
	}
	defer rows.Close()
	meta := map[string]string{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		meta[key] = value
	}
	if err := rows.Err(); err != nil {
		return err
	}
	dim, err := strconv.Atoi(meta["dim"])
	if err != nil || dim < 1 || dim > maxDim {
		return fmt.Errorf("%w: its vectors have %q values", ErrDamaged, meta["dim"])
	}
	x.options = Options{Model: meta["model"], Identity: meta["identity"], Dim: dim}
	return nil
}

// collect reads the rows of a query of one column.
func collect[T any](rows *sql.Rows) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// placeholders are n question marks for a list in SQL.
func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }
