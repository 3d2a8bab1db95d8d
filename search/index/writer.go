package index

import (
	"context"
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
	filesAtOnce = 64
	timeAtOnce  = 200 * time.Millisecond
)

// writer is the one process that writes an index.
type writer struct {
	lock       *os.File
	file       *sql.DB
	conn       *sql.Conn            // the one of file
	statements map[string]*sql.Stmt // of conn, by their text
	thumbnails *thumbnails          // nil where none are made
	width      int                  // bytes of a vector
	blockRows  int

	open  bool // a transaction
	files int  // that it writes
	begun time.Time
}

// newWriter takes the index's lock, which a killed process gives back, too. The error is
// ErrInUse where another has it.
func newWriter(path string, dim int, maxThumbnails int64) (*writer, error) {
	lock, err := lockIndex(path)
	if err != nil {
		return nil, err
	}
	w := &writer{lock: lock, statements: map[string]*sql.Stmt{}, width: 2 * dim, blockRows: blockRows(dim)}
	w.file, err = open(path, true)
	if err == nil {
		w.conn, err = w.file.Conn(context.Background())
	}
	if err == nil && maxThumbnails > 0 {
		w.thumbnails, err = newThumbnails(thumbnailsPath(path), maxThumbnails)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// lockIndex takes the lock of an index until the file is closed.
func lockIndex(path string) (*os.File, error) {
	target := path
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		target = linked // all links to an index share its lock
	}
	lock, err := os.OpenFile(target+".lock", os.O_RDWR|os.O_CREATE, 0o666)
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return nil, fmt.Errorf("it cannot be written: %w", at.Err)
	}
	locked, err := sysfile.TryLock(lock)
	if err == nil && !locked {
		err = ErrInUse
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// close gives up what has not been committed.
func (w *writer) close() error {
	var err error
	if w.thumbnails != nil {
		err = w.thumbnails.close()
	}
	for _, s := range w.statements {
		err = errors.Join(err, s.Close())
	}
	if w.conn != nil {
		w.rollback()
		err = errors.Join(err, w.conn.Close())
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return errors.Join(err, w.lock.Close())
}

// prepared gives a statement of the transaction, which begins where there is none.
func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if !w.open {
		if _, err := w.conn.ExecContext(context.Background(), `BEGIN IMMEDIATE`); err != nil {
			return nil, err
		}
		w.open, w.files, w.begun = true, 0, time.Now()
	}
	if s := w.statements[query]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		w.statements[query] = s
	}
	return s, err
}

// exec changes something in the transaction.
func (w *writer) exec(query string, args ...any) error {
	s, err := w.prepared(query)
	if err == nil {
		_, err = s.Exec(args...)
	}
	return err
}

// query asks for rows in the transaction.
func (w *writer) query(query string, args ...any) (*sql.Rows, error) {
	s, err := w.prepared(query)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

// get asks for a number in the transaction, which may write it, too. It is 0 where there
// is no row.
func (w *writer) get(query string, args ...any) (int64, error) {
	s, err := w.prepared(query)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.QueryRow(args...).Scan(&n)
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
	if _, err := w.pack(); err != nil {
		return err
	}
	return w.commit()
}

// commit ends the transaction. Thumbnails come first: without their pictures they are
// found again by hash, and pictures without thumbnails would stay so.
func (w *writer) commit() error {
	if !w.open {
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
	_, err := w.conn.ExecContext(context.Background(), `COMMIT`)
	if err != nil {
		w.rollback()
	}
	w.open = false
	return err
}

// rollback gives up the transaction. It says nothing where SQLite already has.
func (w *writer) rollback() {
	if w.open {
		w.conn.ExecContext(context.Background(), `ROLLBACK`)
	}
	w.open = false
}
