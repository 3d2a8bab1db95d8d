package index

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What can be wrong with a file that should be an index.
var (
	ErrNotIndex = errors.New("is no index of clip-wgpu")
	ErrFormat   = errors.New("is an index of another format")
	ErrDamaged  = errors.New("is damaged or cut short; delete it and index again")
)

// errFull is said in one way, whatever there was no room for.
var errFull = errors.New("the disk is full")

// ErrInUse: another process is updating the index.
var ErrInUse = errors.New("is in use: another process is updating it")

// What SQLite's header tells of a file.
const (
	applicationID = 0x636c6970 // "clip"
	formatVersion = 2
	looseFormat   = 1 // all vectors are loose, in the table vectors
)

// schema is the format. Times are Unix time: nanoseconds of files, seconds of pictures.
// Vectors are apart from all else, so that what reads that reads little.
const schema = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE contents (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	hash BLOB NOT NULL UNIQUE,
	width INTEGER NOT NULL, height INTEGER NOT NULL,
	taken INTEGER
);
CREATE TABLE loose (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE files (
	id INTEGER PRIMARY KEY,
	folder INTEGER NOT NULL, name BLOB NOT NULL,
	size INTEGER NOT NULL, modified INTEGER NOT NULL,
	content INTEGER, failure TEXT,
	UNIQUE (folder, name)
);
CREATE INDEX files_content ON files (content) WHERE content IS NOT NULL;
CREATE TABLE orphans (content INTEGER PRIMARY KEY);` + blocksSchema

// blocksSchema is what the format of loose vectors lacks. The vectors that blocks have of
// pictures which are gone are freed.
const blocksSchema = `
CREATE TABLE blocks (
	first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
	count INTEGER NOT NULL,
	ids BLOB NOT NULL, vectors BLOB NOT NULL
);
CREATE TABLE freed (id INTEGER PRIMARY KEY);`

// pageSize holds 15 loose vectors of 512 values, and a block of 1,024 in 65 pages.
const pageSize = 16 << 10

// create makes the file appear with its tables, or not at all.
func create(path string, o Options) error {
	f, err := atomicfile.Create(path, false)
	if err != nil {
		return err
	}
	defer f.Discard()
	db, err := sql.Open("sqlite", source(f.Name(), "mode", "rw", "_pragma", "journal_mode(OFF)", "_pragma", "page_size("+strconv.Itoa(pageSize)+")"))
	if err != nil {
		return err
	}
	defer db.Close()
	statements := fmt.Sprintf(`PRAGMA application_id = %d; PRAGMA user_version = %d; %s`, applicationID, formatVersion, schema)
	if _, err := db.Exec(statements); err != nil {
		return err
	}
	_, err = db.Exec(`INSERT INTO meta VALUES ('model', ?), ('identity', ?), ('dim', ?), ('version', '0')`, o.Model, o.Identity, strconv.Itoa(o.Dim))
	if err == nil {
		_, err = db.Exec(`PRAGMA journal_mode = WAL`) // readers and the writer then do not wait for each other
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return f.Commit()
}

// open opens the file and checks that it is an index. Readers do not wait for a writer.
func open(path string, write bool) (*sql.DB, error) {
	settings := []string{"mode", "rw", "_pragma", "busy_timeout(10000)", "_pragma", "mmap_size(0)"}
	if write {
		settings = append(settings, "_pragma", "synchronous(NORMAL)")
	} else {
		settings = append(settings, "_pragma", "query_only(1)")
	}
	db, err := checked(path, settings)
	if write || !isUnwritable(err) {
		return db, err
	}
	if hasLog(path) {
		return nil, errors.New("its last update was killed: it has to be opened once where the disk can be written")
	}
	// On a disk that cannot be written, nobody else writes either.
	return checked(path, append(settings, "immutable", "1"))
}

// isUnwritable tells errors of a disk that cannot be written: readers share a file, too.
func isUnwritable(err error) bool {
	var code *sqlite.Error
	if !errors.As(err, &code) {
		return false
	}
	short := code.Code() & 0xff
	return short == sqlite3.SQLITE_CANTOPEN || short == sqlite3.SQLITE_READONLY || code.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
}

// checked opens the file with settings of its address and checks what it is.
func checked(path string, settings []string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", source(path, settings...))
	if err != nil {
		return nil, err
	}
	var application, format int
	err = db.QueryRow(`SELECT application_id, user_version FROM pragma_application_id, pragma_user_version`).Scan(&application, &format)
	switch {
	case err != nil:
	case application != applicationID:
		err = ErrNotIndex
	case format == looseFormat:
		err = errLoose
	case format != formatVersion:
		err = fmt.Errorf("%w: %d, this program reads and writes %d", ErrFormat, format, formatVersion)
	default:
		return db, nil
	}
	db.Close()
	return nil, err
}

// errLoose: the file is an index, but has the format before this one.
var errLoose = fmt.Errorf("%w: %d", ErrFormat, looseFormat)

// convert makes an index of loose vectors one of this format: the next update makes blocks
// of them. Older programs then refuse it.
func convert(path string) error {
	lock, err := lockIndex(path)
	if errors.Is(err, ErrInUse) {
		return fmt.Errorf("%w, which cannot be converted: %w", errLoose, err)
	}
	if err == nil {
		defer lock.Close()
		err = convertLocked(path)
	}
	if isUnwritable(err) { // SQLite's text says less
		err = errors.New("it cannot be written")
	}
	if err != nil {
		return fmt.Errorf("%w, an older one: open it once, as by clip-wgpu search, where the file and its folder can be written, which converts it: %w", errLoose, err)
	}
	return nil
}

func convertLocked(path string) error {
	db, err := sql.Open("sqlite", source(path, "mode", "rw", "_pragma", "busy_timeout(10000)"))
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var format int
	if err = tx.QueryRow(`PRAGMA user_version`).Scan(&format); err != nil || format != looseFormat {
		return err // another process was faster
	}
	if _, err = tx.Exec(fmt.Sprintf(`ALTER TABLE vectors RENAME TO loose; %s PRAGMA user_version = %d`, blocksSchema, formatVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// hasLog tells whether there is more than in the file.
func hasLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// source is the address of a file for SQLite, with settings: names and values in turn.
func source(path string, settings ...string) string {
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	path = filepath.ToSlash(path)
	if path[0] != '/' {
		path = "/" + path // before a drive's letter
	}
	values := url.Values{}
	for i := 0; i < len(settings); i += 2 {
		values.Add(settings[i], settings[i+1])
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: values.Encode()}).String()
}

// failed is err as that of the index at path.
func failed(path string, err error) error {
	var code *sqlite.Error
	var file *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &file):
		return err // which names the path
	case errors.As(err, &code) && code.Code() == sqlite3.SQLITE_IOERR_SHMSIZE:
		err = errFull
	case errors.As(err, &code):
		switch code.Code() & 0xff {
		case sqlite3.SQLITE_NOTADB:
			err = ErrNotIndex
		case sqlite3.SQLITE_CORRUPT:
			err = ErrDamaged
		case sqlite3.SQLITE_FULL:
			err = errFull
		case sqlite3.SQLITE_READONLY:
			err = os.ErrPermission
		case sqlite3.SQLITE_CANTOPEN:
			err = errors.New("cannot be opened: the file cannot be read and written, or its folder not be written")
		}
	}
	return fmt.Errorf("index %s: %w", path, err)
}
