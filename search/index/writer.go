package index

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
)

// A transaction ends after so many files or so long, whichever is first: what is lost when
// the process is killed.
const (
	filesAtOnce = 16
	timeAtOnce  = 200 * time.Millisecond
)

// writer is the one process that writes an index.
type writer struct {
	lock       *os.File
	file       *sql.DB
	thumbnails *thumbnails // nil where none are made

	tx    *sql.Tx // nil between transactions
	files int     // that tx writes
	begun time.Time
}

// newWriter takes the index's lock, which a killed process gives back, too. The error is
// ErrInUse where another has it.
func newWriter(path string, maxThumbnails int64) (*writer, error) {
	target := path
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		target = linked // all links to an index share its lock
	}
	lock, err := os.OpenFile(target+".lock", os.O_RDWR|os.O_CREATE, 0o666)
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return nil, fmt.Errorf("it cannot be written: %w", at.Err)
	}
	w := &writer{lock: lock}
	locked, err := sysfile.TryLock(lock)
	if err == nil && !locked {
		err = ErrInUse
	}
	if err == nil {
		w.file, err = open(path, true)
	}
	if err == nil && maxThumbnails > 0 {
		w.thumbnails, err = newThumbnails(thumbnailsPath(path), maxThumbnails)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.file.SetMaxOpenConns(1)
	return w, nil
}

// close gives up what has not been committed.
func (w *writer) close() error {
	var err error
	if w.tx != nil {
		w.tx.Rollback()
	}
	if w.thumbnails != nil {
		err = w.thumbnails.close()
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return errors.Join(err, w.lock.Close())
}

// begin returns the transaction, a new one where there is none.
func (w *writer) begin() (*sql.Tx, error) {
	if w.tx != nil {
		return w.tx, nil
	}
	tx, err := w.file.Begin()
	if err != nil {
		return nil, err
	}
	w.tx, w.files, w.begun = tx, 0, time.Now()
	return tx, nil
}

// exec changes something in the transaction.
func (w *writer) exec(query string, args ...any) error {
	tx, err := w.begin()
	if err == nil {
		_, err = tx.Exec(query, args...)
	}
	return err
}

// get asks for a number in the transaction, which may write it, too. It is 0 where there
// is no row.
func (w *writer) get(query string, args ...any) (int64, error) {
	tx, err := w.begin()
	if err != nil {
		return 0, err
	}
	var n int64
	err = tx.QueryRow(query, args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, err
}

// wrote counts a file, and commits what is due.
func (w *writer) wrote() error {
	if w.files++; w.files < filesAtOnce && time.Since(w.begun) < timeAtOnce {
		return nil
	}
	return w.commit()
}

// commit ends the transaction. Thumbnails come first: without their pictures they are
// found again by hash, and pictures without thumbnails would stay so.
func (w *writer) commit() error {
	if w.tx == nil {
		return nil
	}
	if w.thumbnails != nil {
		if err := w.thumbnails.commit(); err != nil {
			return err
		}
	}
	if err := w.exec(`UPDATE meta SET value = value + 1 WHERE key = 'version'`); err != nil {
		return err
	}
	tx := w.tx
	w.tx = nil
	return tx.Commit()
}
