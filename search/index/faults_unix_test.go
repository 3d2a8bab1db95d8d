//go:build unix

package index

import (
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets tests start this binary to update an index, slowly and perhaps where no
// file can get longer than a limit.
func TestMain(m *testing.M) {
	if path := os.Getenv("INDEX_TEST_UPDATE"); path != "" {
		if limit, err := strconv.ParseUint(os.Getenv("INDEX_TEST_LIMIT"), 10, 64); err == nil {
			signal.Ignore(syscall.SIGXFSZ)
			syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit})
		}
		x, err := Open(path)
		if err != nil {
			panic(err)
		}
		slow := func(ctx context.Context, pictures iter.Seq[Decoding]) iter.Seq2[Encoded, error] {
			return func(yield func(Encoded, error) bool) {
				for p := range pictures {
					if time.Sleep(time.Millisecond); !yield(encodeOne(p), nil) {
						return
					}
				}
			}
		}
		if _, err := x.Update(context.Background(), []string{os.Getenv("INDEX_TEST_FOLDER")}, slow, UpdateOptions{}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// updating is an update of an index by a process of its own.
func updating(t *testing.T, x *Index, folder string, more ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	update := exec.Command(self)
	update.Env = append(append(os.Environ(), "INDEX_TEST_UPDATE="+x.Path(), "INDEX_TEST_FOLDER="+folder), more...)
	return update
}

// row is all that an index tells of a file.
type row struct {
	path   string
	p      Picture
	vector string
}

func rows(t *testing.T, x *Index) (all []row) {
	t.Helper()
	require.NoError(t, x.Scan(t.Context(), func(ids []int64, vectors []byte) error {
		pictures, err := x.Pictures(t.Context(), ids)
		for i, p := range pictures {
			require.Equal(t, ids[i], p.ID)
			paths, width := p.Paths, 2*x.Options().Dim
			p.ID, p.Paths = 0, nil
			for _, path := range paths {
				all = append(all, row{path, p, string(vectors[i*width : (i+1)*width])})
			}
		}
		return err
	}))
	slices.SortFunc(all, func(a, b row) int { return slices.Compare([]byte(a.path), []byte(b.path)) })
	return all
}

// Updates that are killed lose nothing and double nothing.
func TestKilledUpdates(t *testing.T) {
	whole, killed, folder := newIndex(t), newIndex(t), t.TempDir()
	for i := range 250 {
		put(t, picture(t, uint8(i)), folder, "a", string(rune('0'+i))+".jpg")
	}
	put(t, picture(t, 7), folder, "a copy.jpg")
	put(t, picture(t, 249), folder, "another.jpg")
	updated(t, whole, folder)
	n, kills := 0, 0
	for ; ; kills++ {
		update := updating(t, killed, folder)
		require.NoError(t, update.Start())
		before := n
		for n < before+60 && n < 250 { // some are lost, far from all
			time.Sleep(5 * time.Millisecond)
			var err error
			n, err = killed.Len(t.Context())
			require.NoError(t, err)
		}
		if n == 250 {
			require.NoError(t, update.Wait())
			break
		}
		require.NoError(t, update.Process.Kill())
		require.Error(t, update.Wait())
	}
	assert.GreaterOrEqual(t, kills, 2)
	assert.Equal(t, rows(t, whole), rows(t, killed))
	var check string
	require.NoError(t, killed.db.QueryRow(`PRAGMA integrity_check`).Scan(&check))
	assert.Equal(t, "ok", check)
	report, _ := updated(t, killed, folder)
	assert.Equal(t, 252, report.Found)
	assert.Zero(t, report.Encoded+report.Known+report.Removed)
}

// Where no more can be written, as on a full disk, what was there stays.
func TestUpdateOnAFullDisk(t *testing.T) {
	path, folder := filled(t)
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	before := rows(t, x)
	for i := range 200 {
		put(t, picture(t, uint8(i)), folder, "more", string(rune('0'+i))+".jpg")
		put(t, append(picture(t, uint8(i)), 0), folder, "other bytes", string(rune('0'+i))+".jpg")
	}
	limit := strconv.Itoa(9 * pageSize) // less than the file and its log need
	told, err := updating(t, x, folder, "INDEX_TEST_LIMIT="+limit).Output()
	require.Error(t, err)
	assert.Contains(t, string(told), path)
	assert.Regexp(t, "full|I/O", string(told))
	now := rows(t, x)
	for _, r := range before {
		assert.Contains(t, now, r)
	}
	updated(t, x, folder)
	assert.Len(t, rows(t, x), 460)
}

func TestNamesThatAreNotUTF8(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("the file system has none")
	}
	x, folder := newIndex(t), filepath.Join(t.TempDir(), "f\xff")
	path := put(t, picture(t, 10), folder, "\xfe\x80.jpg")
	updated(t, x, folder)
	assert.Equal(t, []string{path}, all(t, x)[0].Paths)
	report, _ := updated(t, x, folder)
	assert.Zero(t, report.Encoded+report.Known+report.Removed)
	ids, err := x.Select(t.Context(), Filter{Under: []string{folder}, Names: []string{"\xfe"}})
	require.NoError(t, err)
	assert.Len(t, ids, 1)
	roots, err := x.Roots(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{folder}, roots)
}

// Where nothing can be written an index is read, but not one whose last update was killed:
// what that has written would be missing.
func TestReadOnlyIndex(t *testing.T) {
	path, folder := filled(t)
	x, err := Open(path)
	require.NoError(t, err)
	put(t, picture(t, 255), folder, "new.jpg")
	updated(t, x, folder)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.NotEmpty(t, log)
	require.NoError(t, x.Close())

	require.NoError(t, os.Symlink("none", path+"-shm")) // which readers share: SQLite takes no links
	x, err = Open(path)
	require.NoError(t, err)
	assert.Len(t, all(t, x), 61)
	require.NoError(t, x.Close())
	put(t, log, path+"-wal")
	_, err = Open(path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "was killed")
}

// An index of the format before, which cannot be converted where nothing can be written, is
// not changed there, and the error says what to do.
func TestLooseFormatReadOnly(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"lock": func(path string) error { return os.Mkdir(path+".lock", 0o777) },
		"log":  func(path string) error { return os.Symlink("none", path+"-shm") }, // SQLite takes no links
	} {
		path := newLooseFormat(t, 10).Path()
		require.NoError(t, spoil(path), name)
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = Open(path)
		require.ErrorIs(t, err, ErrFormat, name)
		require.ErrorContains(t, err, path+": is an index of another format: 1, an older one: open it once", name)
		require.ErrorContains(t, err, "cannot be written", name)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after, name)
	}
}

// An index has one writer, whatever name it is opened by.
func TestOneWriterOfALinkedIndex(t *testing.T) {
	x := newIndex(t)
	w, err := newWriter(x.Path(), options.Dim, 0)
	require.NoError(t, err)
	defer w.close()
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(x.Path(), link))
	_, err = newWriter(link, options.Dim, 0)
	require.ErrorIs(t, err, ErrInUse)
}
