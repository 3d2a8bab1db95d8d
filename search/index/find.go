package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/walk"
)

// file is a file that is new or has changed.
type file struct {
	path           string
	size, modified int64
	id, content    int64 // its row and what it was, 0 where that is not known

	hash          hash
	width, height int
	taken         time.Time
	thumbnail     []byte
	claims        bool // the content is new, and this file stands for it
	passing       bool // why it has no vector does not lie in what it contains
}

// known is the row of a file.
type known struct {
	id, size, modified, content int64
	failed                      bool
}

// searchAll finds what is new below roots, and returns those that are there.
func (u *update) searchAll(ctx context.Context, roots []string) (good []string, err error) {
	for _, root := range roots {
		found, kept := u.report.Found, len(u.kept)
		err := u.search(ctx, root)
		if err == nil && u.report.Found == found && len(u.kept) == kept {
			err = u.refuseEmpty(ctx, root)
		}
		var folder *FolderError
		switch {
		case errors.As(err, &folder):
			u.bad = append(u.bad, err)
		case err != nil:
			return nil, err
		default:
			good = append(good, root)
		}
	}
	return good, nil
}

// search finds what is new below a root.
func (u *update) search(ctx context.Context, root string) error {
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = errors.New("is no folder")
	}
	if err != nil {
		return rootError(root, err)
	}
	find, err := u.db.PrepareContext(ctx, `SELECT f.id, f.size, f.modified, coalesce(f.content, 0), f.failure IS NOT NULL
		FROM files f JOIN folders d ON d.id = f.folder WHERE d.path = ? AND f.name = ?`)
	if err != nil {
		return failed(u.path, err)
	}
	defer find.Close()
	var ended error
	walking, stop := context.WithCancel(ctx)
	defer stop()
	rest, err := walk.Pictures(walking, root, walk.Options{Hidden: u.Hidden, ExcludeDirs: u.ExcludeDirs}, func(path string, info fs.FileInfo, err error) {
		if ended == nil {
			ended = u.visit(find, root, path, info, err)
		}
		if ended != nil {
			stop()
		}
	})
	if err = errors.Join(ctx.Err(), ended); err != nil {
		return err
	}
	for format, n := range rest.Others {
		u.report.LeftOut[format] += n
	}
	return nil
}

// visit takes what a walk found.
func (u *update) visit(find *sql.Stmt, root, path string, info fs.FileInfo, err error) error {
	switch {
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("not a regular file (%v)", info.Mode().Type())
	case path == root && err != nil:
		return rootError(root, err)
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone meanwhile
	}
	if err != nil {
		u.kept = append(u.kept, path)
		u.fail(path, err)
		return nil
	}
	u.report.Found++
	u.tell(Progress{Found: u.report.Found})
	var k known
	err = find.QueryRow([]byte(filepath.Dir(path)), []byte(filepath.Base(path))).Scan(&k.id, &k.size, &k.modified, &k.content, &k.failed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return failed(u.path, err)
	}
	if k.id != 0 {
		u.seen[k.id] = true
		if k.size == info.Size() && k.modified == info.ModTime().UnixNano() {
			if k.failed {
				u.report.StillFailed++
			}
			return nil
		}
	}
	u.todo = append(u.todo, &file{path: path, size: info.Size(), modified: info.ModTime().UnixNano(), id: k.id, content: k.content})
	return nil
}

// refuseEmpty is an error where a root lacks all pictures that the index has of it.
func (u *update) refuseEmpty(ctx context.Context, root string) error {
	roots, err := u.Roots(ctx)
	if err != nil || !slices.Contains(roots, root) {
		return err
	}
	files, err := u.filesBelow(ctx, root, u.apart(root, roots))
	if err == nil && len(files) > 0 {
		return rootError(root, fmt.Errorf("it has no pictures any more, and the index has %d", len(files)))
	}
	return err
}

// apart are those of roots below a root which it does not reach.
func (u *update) apart(root string, roots []string) (apart []string) {
	for _, other := range roots {
		if contains(root, other) && !u.reaches(root, other) {
			apart = append(apart, other)
		}
	}
	return apart
}

// FolderError is what is the matter with a folder that was to be searched.
type FolderError struct {
	Path string
	Err  error
}

func (e *FolderError) Error() string { return "folder " + e.Path + ": " + e.Err.Error() }

func (e *FolderError) Unwrap() error { return e.Err }

// rootError is the error of a folder that nothing is dropped for.
func rootError(root string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &FolderError{root, err}
}

func (u *update) fail(path string, err error) {
	u.report.Failed++
	if u.Failed != nil {
		u.Failed(Failure{path, err})
	}
}

func (u *update) tell(p Progress) {
	if u.Progress != nil {
		u.Progress(p)
	}
}

// drop drops the files below roots that are gone, but not where the root itself has gone
// meanwhile.
func (u *update) drop(ctx context.Context, roots []string) error {
	known, err := u.Roots(ctx)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if _, err := os.Stat(root); err != nil {
			u.bad = append(u.bad, rootError(root, err))
			continue
		}
		if err := u.dropBelow(ctx, root, u.apart(root, known)); err != nil {
			return err
		}
	}
	return failed(u.path, u.sweep())
}

// dropBelow drops the files below a folder that have not been seen, but not those below
// the folders of apart.
func (u *update) dropBelow(ctx context.Context, root string, apart []string) error {
	files, err := u.filesBelow(ctx, root, slices.Concat(u.kept, apart))
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(files, func(id int64) bool { return u.seen[id] })
	for some := range slices.Chunk(gone, askedAtOnce) {
		if err := u.dropFiles(some); err != nil {
			return failed(u.path, err)
		}
	}
	return ctx.Err()
}

// filesBelow are the rows of the files below a folder, but for those at or below others.
func (u *update) filesBelow(ctx context.Context, folder string, others []string) (ids []int64, err error) {
	first, end := below(folder)
	rows, err := u.db.QueryContext(ctx, `SELECT f.id, d.path, f.name FROM files f JOIN folders d ON d.id = f.folder
		WHERE d.path = ? OR d.path >= ? AND d.path < ?`, []byte(folder), first, end)
	if err != nil {
		return nil, failed(u.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var in, name string
		if err := rows.Scan(&id, &in, &name); err != nil {
			return nil, failed(u.path, err)
		}
		path := filepath.Join(in, name)
		if !slices.ContainsFunc(others, func(o string) bool { return contains(o, path) }) {
			ids = append(ids, id)
		}
	}
	return ids, failed(u.path, rows.Err())
}

// dropFiles drops rows of files in one transaction.
func (u *update) dropFiles(ids []int64) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	list := `(` + placeholders(len(ids)) + `)`
	err := u.exec(`INSERT OR IGNORE INTO orphans SELECT content FROM files WHERE content IS NOT NULL AND id IN `+list, args...)
	if err == nil {
		err = u.exec(`DELETE FROM files WHERE id IN `+list, args...)
	}
	if err == nil {
		err = u.commit()
	}
	u.report.Removed += len(ids)
	return err
}

// sweep drops the contents that have lost their files, also those of an update that was
// killed, and folders without any.
func (u *update) sweep() error {
	n, err := u.get(`SELECT count(*) FROM orphans`)
	if err != nil || n == 0 {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM orphans WHERE EXISTS (SELECT 1 FROM files WHERE files.content = orphans.content)`,
		`DELETE FROM loose WHERE id IN (SELECT content FROM orphans)`,
		`INSERT INTO freed SELECT content FROM orphans WHERE content <= (SELECT max(last) FROM blocks)`,
		`DELETE FROM contents WHERE id IN (SELECT content FROM orphans)`,
		`DELETE FROM orphans`,
		`DELETE FROM folders WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.folder = folders.id)`,
	} {
		if err := u.exec(statement); err != nil {
			return err
		}
	}
	if err := u.commit(); err != nil {
		return err
	}
	return u.compact()
}
