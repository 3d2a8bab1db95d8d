// Package walk finds the pictures in folders.
package walk

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say what of a folder is taken.
type Options struct {
	Hidden      bool     // hidden files and folders, too
	ExcludeDirs []string // patterns of filepath.Match: names of folders to leave out
}

// Rest is what was left out.
type Rest struct {
	Hidden int            // hidden and excluded files and folders
	Others map[string]int // pictures in formats that are not read, by the format's name
}

// Pictures passes on the paths of the pictures in and below a folder, sorted, each with
// what a link points to, or with the reason why that or a folder below cannot be read. It
// follows the folder itself where that is a link, and no links to folders below. The error
// is ctx's.
func Pictures(ctx context.Context, folder string, o Options, visit func(path string, info fs.FileInfo, err error)) (Rest, error) {
	rest := Rest{Others: map[string]int{}}
	// With the separator, a link given as folder is followed.
	root := strings.TrimSuffix(filepath.Clean(folder), string(filepath.Separator)) + string(filepath.Separator)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		extension := strings.ToLower(filepath.Ext(path))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == root:
			visit(folder, nil, err)
		case err != nil:
			visit(path, nil, err)
		case path != root && o.LeavesOut(d):
			rest.Hidden++
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
		case slices.Contains(Extensions, extension):
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				visit(path, info, err)
			}
		case others[extension] != "":
			rest.Others[others[extension]]++
		}
		return nil
	})
	return rest, err
}

// Reaches tells whether Pictures of a folder looks into one that is, by its path, the
// folder itself or below it. Paths are clean.
func (o Options) Reaches(folder, below string) bool {
	path := folder
	rest := strings.TrimPrefix(below, folder)
	for _, name := range strings.FieldsFunc(rest, func(r rune) bool { return r == filepath.Separator }) {
		path = filepath.Join(path, name)
		if info, err := os.Lstat(path); err == nil && (!info.IsDir() || o.LeavesOut(fs.FileInfoToDirEntry(info))) {
			return false
		}
	}
	return true
}

// LeavesOut tells whether a file or folder is hidden or excluded.
func (o Options) LeavesOut(d fs.DirEntry) bool {
	return !o.Hidden && isHidden(d.Name()) || d.IsDir() && o.excludes(d.Name())
}

// excludes tells whether ExcludeDirs has a name.
func (o Options) excludes(name string) bool {
	return slices.ContainsFunc(o.ExcludeDirs, func(pattern string) bool {
		match, _ := filepath.Match(pattern, name) // a bad pattern matches nothing
		return match
	})
}

// systemNames are folders of thumbnails and deleted files that systems keep
// beside pictures: of Synology, QNAP, Windows and macOS's archives.
var systemNames = []string{"@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "__MACOSX"}

func isHidden(name string) bool {
	return name[0] == '.' || slices.ContainsFunc(systemNames, func(s string) bool { return strings.EqualFold(s, name) })
}
