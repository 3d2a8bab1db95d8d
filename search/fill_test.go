package search

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/internal/half"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// openModel opens the embedded model, which the tests share.
var openModel = sync.OnceValues(func() (*clip.Model, error) { return clip.Load(context.Background(), "") })

func newModel(t testing.TB) *clip.Model {
	t.Helper()
	m, err := openModel()
	require.NoError(t, err)
	return m
}

func TestMain(m *testing.M) {
	code := m.Run()
	if model, err := openModel(); err == nil {
		model.Close()
	}
	os.Exit(code)
}

// randomVector is unit vector i in binary16.
func randomVector(i, dim int) []byte {
	rng := rand.New(rand.NewPCG(uint64(i), 3))
	values, squares := make([]float64, dim), 0.0
	for k := range values {
		values[k] = rng.NormFloat64()
		squares += values[k] * values[k]
	}
	vector := make([]byte, 0, 2*dim)
	for _, v := range values {
		vector = binary.LittleEndian.AppendUint16(vector, half.F32ToF16(float32(v/math.Sqrt(squares))))
	}
	return vector
}

// fill adds pictures first to first+n-1 with these vectors, as files /pictures/FOLDER/NAME.jpg
// of which ten share a folder, one modified each hour.
func fill(t testing.TB, path string, first, n int, vector func(i int) []byte) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	exec := func(statement string, args ...any) {
		_, err := tx.Exec(statement, args...)
		require.NoError(t, err)
	}
	for i := first; i < first+n; i++ {
		if i%10 == 0 {
			exec(`INSERT INTO folders VALUES (?, ?)`, i/10, fmt.Appendf(nil, "/pictures/%d", i/10))
		}
		exec(`INSERT INTO contents VALUES (?, ?, 640, 480, NULL)`, i+1, binary.LittleEndian.AppendUint64(nil, uint64(i)))
		exec(`INSERT INTO loose VALUES (?, ?)`, i+1, vector(i))
		exec(`INSERT INTO files VALUES (?, ?, ?, 1000, ?, ?, NULL)`, i+1, i/10, fmt.Appendf(nil, "IMG_%d.jpg", i), int64(i)*3600e9, i+1)
	}
	exec(`UPDATE meta SET value = value + 1 WHERE key = 'version'`)
	require.NoError(t, tx.Commit())
}

// pack makes an update with an empty folder, which makes blocks of the vectors.
func pack(t testing.TB, x *index.Index) {
	t.Helper()
	_, err := x.Update(t.Context(), []string{t.TempDir()}, nil, index.UpdateOptions{})
	require.NoError(t, err)
}

// newIndex makes an index of m's with n pictures of random vectors.
func newIndex(t testing.TB, m *clip.Model, n int) *index.Index {
	t.Helper()
	return createIndex(t, filepath.Join(t.TempDir(), "index.db"), m, n)
}

func createIndex(t testing.TB, path string, m *clip.Model, n int) *index.Index {
	t.Helper()
	o, err := Options(t.Context(), m, "emoji-clip")
	require.NoError(t, err)
	x, err := index.Create(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { x.Close() })
	fill(t, x.Path(), 0, n, func(i int) []byte { return randomVector(i, o.Dim) })
	pack(t, x)
	return x
}

// open opens a Searcher of an index.
func open(t testing.TB, m *clip.Model, x *index.Index) *Searcher {
	t.Helper()
	s, err := Open(t.Context(), m, x)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}
