package index

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// filled is an index of some pictures, closed, and their folder.
func filled(t *testing.T) (path, folder string) {
	t.Helper()
	x, folder := newIndex(t), t.TempDir()
	for i := range 60 {
		put(t, picture(t, uint8(4*i)), folder, strings.Repeat("long name ", 20)+string(rune('0'+i))+".jpg")
	}
	updated(t, x, folder)
	require.NoError(t, x.Close())
	return x.Path(), folder
}

func TestFilesThatAreNoIndex(t *testing.T) {
	path, _ := filled(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Greater(t, len(whole), 4*pageSize)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"text":     {[]byte(strings.Repeat("no index ", 1000)), ErrNotIndex},
		"short":    {[]byte("SQLite"), ErrNotIndex},
		"empty":    {nil, ErrNotIndex},
		"halved":   {whole[:len(whole)/2], ErrDamaged},
		"cut":      {whole[:len(whole)-1], ErrDamaged},
		"one page": {whole[:pageSize], ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, c.data, t.TempDir(), "x.db")
			_, err := Open(path)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, path)
			now, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(c.data), string(now))
		})
	}
	for statement, want := range map[string]error{
		`PRAGMA user_version = 7`:                      ErrFormat,
		`PRAGMA application_id = 7`:                    ErrNotIndex,
		`UPDATE meta SET value = 'x' WHERE key='dim'`:  ErrDamaged,
		`DELETE FROM meta WHERE key = 'dim'`:           ErrDamaged,
		`UPDATE meta SET value = '-1' WHERE key='dim'`: ErrDamaged,
	} {
		path := put(t, whole, t.TempDir(), "x.db")
		change(t, path, statement)
		_, err := Open(path)
		require.ErrorIs(t, err, want, statement)
		require.ErrorContains(t, err, path)
	}
	_, err = Open(filepath.Join(t.TempDir(), "none.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorIs(t, err, ErrNotIndex)
}

// change changes an index's file behind its back.
func change(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", source(path))
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestVectorsOfAnotherLength(t *testing.T) {
	path, _ := filled(t)
	change(t, path, `UPDATE loose SET vector = x'00' WHERE id = 3`)
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	err = x.Scan(t.Context(), func([]int64, []byte) error { return nil })
	require.ErrorIs(t, err, ErrDamaged)
	stop := errors.New("enough")
	change(t, path, `DELETE FROM loose WHERE id = 3`)
	require.ErrorIs(t, x.Scan(t.Context(), func([]int64, []byte) error { return stop }), stop)
}

// A folder that vanishes while it is indexed loses nothing that is known.
func TestVanishingFolder(t *testing.T) {
	path, folder := filled(t)
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	for i := range 12 {
		put(t, picture(t, uint8(i*4+2)), folder, "new", string(rune('a'+i))+".jpg")
	}
	away, encoded := folder+"-away", 0
	_, err = x.Update(t.Context(), []string{folder}, encoder(&encoded), UpdateOptions{Progress: func(p Progress) {
		if p.Done == 4 && runtime.GOOS != "windows" {
			require.NoError(t, os.Rename(folder, away))
		}
	}})
	require.NoError(t, os.Rename(away, folder))
	var gone *FolderError
	require.ErrorAs(t, err, &gone)
	assert.Equal(t, folder, gone.Path)
	assert.GreaterOrEqual(t, len(all(t, x)), 64)
	report, _ := updated(t, x, folder)
	assert.Equal(t, 72, report.Found)
	assert.Zero(t, report.Removed)
	assert.Len(t, all(t, x), 72)
}

// A file that vanishes while it is read does not take copies along that are known.
func TestVanishingFileWithCopies(t *testing.T) {
	path, _ := filled(t)
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	w, err := newWriter(path, options.Dim, 0)
	require.NoError(t, err)
	defer w.close()
	copied := &file{path: "copy.jpg", id: 7}
	u := &update{Index: x, writer: w, seen: map[int64]bool{7: true}, claims: map[hash]*claim{{1}: {waiting: []*file{copied}}}}
	require.NoError(t, u.take(&file{path: "a.jpg", hash: hash{1}, claims: true, passing: true}, Encoded{Err: os.ErrNotExist}))
	assert.True(t, u.seen[7])
	assert.Equal(t, 1, u.report.Failed)
}

// A damaged file of thumbnails is made anew.
func TestDamagedThumbnails(t *testing.T) {
	path, folder := filled(t)
	put(t, []byte("no thumbnails"), thumbnailsPath(path))
	put(t, picture(t, 255), folder, "new.jpg")
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	updated(t, x, folder)
	for _, p := range all(t, x) {
		made, err := x.Thumbnail(t.Context(), p.ID)
		require.NoError(t, err)
		assert.NotEmpty(t, made)
	}
}

// Damage that is noticed while thumbnails are written does not end the update either.
func TestThumbnailsDamagedWithin(t *testing.T) {
	const page = 4096 // SQLite's usual size
	path, folder := filled(t)
	data, err := os.ReadFile(thumbnailsPath(path))
	require.NoError(t, err)
	require.Greater(t, len(data), 3*page)
	for i := page; i < len(data); i++ {
		data[i] = 0xa5
	}
	put(t, data, thumbnailsPath(path))
	put(t, picture(t, 255), folder, "new.jpg")
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	updated(t, x, folder)
	assert.Len(t, all(t, x), 61)
	var n int
	require.NoError(t, x.readCache().QueryRow(`SELECT count(*) FROM thumbnails`).Scan(&n))
	assert.Equal(t, 1, n)
}

// What does not fit the file of thumbnails is dropped from it, the oldest first.
func TestThumbnailsAreBounded(t *testing.T) {
	const most = 64 << 10
	x, folder := newIndex(t), t.TempDir()
	for i := range 200 {
		put(t, picture(t, uint8(i)), folder, string(rune('0'+i))+".jpg")
	}
	encoded := 0
	_, err := x.Update(t.Context(), []string{folder}, encoder(&encoded), UpdateOptions{MaxThumbnails: most})
	require.NoError(t, err)
	info, err := os.Stat(thumbnailsPath(x.Path()))
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(most))
	var n int
	require.NoError(t, x.readCache().QueryRow(`SELECT count(*) FROM thumbnails`).Scan(&n))
	assert.Positive(t, n)
	assert.Less(t, n, encoded)
}
