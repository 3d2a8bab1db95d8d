package search

import (
	"database/sql"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/internal/usage"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

var (
	loadRows = flag.Int("rows", 100000, "pictures of BenchmarkLoad's index")
	loadFile = flag.String("index", "", "its file, made where there is none (default: one that is deleted afterwards)")
)

// loadDim is how many values the vectors of BenchmarkLoad have.
const loadDim = 512

// loadIndex makes an index of vectors alone, 4,096 random ones again and again.
func loadIndex(b *testing.B) *index.Index {
	b.Helper()
	path := *loadFile
	if path == "" {
		path = filepath.Join(b.TempDir(), "index.db")
	}
	x, err := index.Create(path, index.Options{Dim: loadDim})
	if errors.Is(err, fs.ErrExist) {
		x, err = index.Open(path)
		require.NoError(b, err)
		b.Cleanup(func() { x.Close() })
		return x
	}
	require.NoError(b, err)
	b.Cleanup(func() { x.Close() })
	var some []byte
	for i := range 4096 {
		some = append(some, randomVector(i, loadDim)...)
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(b, err)
	defer db.Close()
	_, err = db.Exec(`WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < ?)
		INSERT INTO loose SELECT id, substr(?, 1 + ? * (id % 4096), ?) FROM i`, *loadRows, some, 2*loadDim, 2*loadDim)
	require.NoError(b, err)
	_, err = db.Exec(`INSERT INTO contents SELECT id, cast(id AS BLOB), 640, 480, NULL FROM loose`)
	require.NoError(b, err)
	pack(b, x)
	return x
}

// BenchmarkLoad compares reading an index's file, reading its vectors, and the first search
// for a vector that is known, which loads them and compiles a program.
func BenchmarkLoad(b *testing.B) {
	x, device := loadIndex(b), newModel(b).Device()
	query := make([]float32, loadDim)
	query[0] = 1
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"file", func() error {
			f, err := os.Open(x.Path())
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
			return err
		}},
		{"scan", func() error { return x.Scan(b.Context(), func([]int64, []byte) error { return nil }) }},
		{"first", func() error {
			v := startVectors(device, x, 0)
			defer func() { v.retire(); <-v.stopped }()
			found, _, err := v.search(b.Context(), query, selection{all: true}, DefaultTop, 0)
			if err == nil && len(found) < DefaultTop {
				err = errors.New("nothing was found")
			}
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			before := usage.CPU()
			for b.Loop() {
				require.NoError(b, c.run())
			}
			b.ReportMetric(float64((usage.CPU()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}
