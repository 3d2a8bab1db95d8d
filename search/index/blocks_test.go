package index

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fill puts n vectors with contents and files into an index behind its back: vector id has
// the bytes of the number id.
func fill(t *testing.T, x *Index, table string, n int) {
	t.Helper()
	const ids = `WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < %d) `
	change(t, x.Path(), fmt.Sprintf(ids+`INSERT INTO `+table+` SELECT id, cast(printf('%%08d', id) AS BLOB) FROM i`, n))
	change(t, x.Path(), fmt.Sprintf(ids+`INSERT INTO contents SELECT id, cast(id AS BLOB), 1, 1, NULL FROM i`, n))
	change(t, x.Path(), fmt.Sprintf(ids+`INSERT INTO files SELECT id, 1, cast(id AS BLOB), 1, 1, id, NULL FROM i`, n))
	change(t, x.Path(), `INSERT INTO folders VALUES (1, cast('/pictures' AS BLOB))`)
}

// scannedIDs are the ids of an index, whose vectors are those of fill.
func scannedIDs(t *testing.T, x *Index) (all []int64) {
	t.Helper()
	require.NoError(t, x.Scan(t.Context(), func(ids []int64, vectors []byte) error {
		require.LessOrEqual(t, len(ids), scanBlock)
		for i, id := range ids {
			require.Equal(t, fmt.Sprintf("%08d", id), string(vectors[8*i:8*i+8]))
		}
		all = append(all, ids...)
		return nil
	}))
	return all
}

// number is what a query for a number finds.
func number(t *testing.T, x *Index, query string) (n int) {
	t.Helper()
	require.NoError(t, x.db.QueryRow(query).Scan(&n))
	return n
}

// ranges are the numbers of some ranges, from each first up to its end.
func ranges(bounds ...int64) (all []int64) {
	for i := 0; i < len(bounds); i += 2 {
		for id := bounds[i]; id < bounds[i+1]; id++ {
			all = append(all, id)
		}
	}
	return all
}

// forgetting drops the files of some ids, as an update does.
func forgetting(t *testing.T, x *Index, ids []int64) {
	t.Helper()
	w, err := newWriter(x.Path(), options.Dim, 0)
	require.NoError(t, err)
	u := &update{Index: x, writer: w}
	require.NoError(t, u.dropFiles(ids))
	require.NoError(t, u.sweep())
	require.NoError(t, w.close())
}

// Vectors that are dropped are passed on no more, whether they are loose, free in a block
// or the block has been compacted; few are free, and small blocks become one.
func TestBlocks(t *testing.T) {
	const full, rest = 3 * maxBlockRows, 100
	x := newIndex(t)
	fill(t, x, "loose", full+rest)
	updated(t, x, t.TempDir())
	assert.Equal(t, 3, number(t, x, `SELECT count(*) FROM blocks`))
	assert.Equal(t, rest, number(t, x, `SELECT count(*) FROM loose`))
	assert.Equal(t, ranges(1, full+rest+1), scannedIDs(t, x))

	forgetting(t, x, []int64{1, 7, maxBlockRows, maxBlockRows + 1, full, full + 1})
	want := append(append(ranges(2, 7, 8, maxBlockRows), ranges(maxBlockRows+2, full)...), ranges(full+2, full+rest+1)...)
	assert.Equal(t, want, scannedIDs(t, x))
	assert.Equal(t, 5, number(t, x, `SELECT count(*) FROM freed`))
	assert.Equal(t, 3, number(t, x, `SELECT count(*) FROM blocks WHERE count = 1024`), "few are free")

	forgetting(t, x, ranges(8, maxBlockRows-10))
	assert.Equal(t, 2, number(t, x, `SELECT count(*) FROM freed`))
	assert.Equal(t, 15, number(t, x, `SELECT count FROM blocks ORDER BY first`), "what is left of the first")
	forgetting(t, x, ranges(maxBlockRows+2, 2*maxBlockRows-9))
	assert.Equal(t, 2, number(t, x, `SELECT count(*) FROM blocks`), "the first two are one")
	assert.Equal(t, 15+10, number(t, x, `SELECT count FROM blocks ORDER BY first`))
	forgetting(t, x, append(ranges(2, 7), ranges(maxBlockRows-10, maxBlockRows)...))
	forgetting(t, x, ranges(2*maxBlockRows-9, full))
	assert.Zero(t, number(t, x, `SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM freed) + (SELECT count(*) FROM contents WHERE id <= 3072)`))
	assert.Equal(t, ranges(full+2, full+rest+1), scannedIDs(t, x))
	n, err := x.Len(t.Context())
	require.NoError(t, err)
	assert.Equal(t, rest-1, n)
}

// newLooseFormat is a closed index of n pictures of the format before blocks.
func newLooseFormat(t *testing.T, n int) *Index {
	t.Helper()
	x := newIndex(t)
	change(t, x.Path(), `DROP TABLE blocks; DROP TABLE freed; ALTER TABLE loose RENAME TO vectors; PRAGMA user_version = 1`)
	fill(t, x, "vectors", n)
	require.NoError(t, x.Close())
	return x
}

// An index of the format before blocks keeps all it has.
func TestLooseFormat(t *testing.T) {
	const n = maxBlockRows + 10
	x := newLooseFormat(t, n)
	w, err := lockIndex(x.Path())
	require.NoError(t, err)
	_, err = Open(x.Path())
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorIs(t, err, ErrFormat)
	require.NoError(t, w.Close())

	x, err = Open(x.Path())
	require.NoError(t, err)
	defer x.Close()
	assert.Equal(t, ranges(1, n+1), scannedIDs(t, x))
	updated(t, x, t.TempDir())
	assert.Equal(t, 1, number(t, x, `SELECT count(*) FROM blocks`))
	assert.Equal(t, ranges(1, n+1), scannedIDs(t, x))
}

// A damaged block is told, not passed on.
func TestDamagedBlock(t *testing.T) {
	for _, damage := range []string{`vectors = x'00'`, `ids = x''`, `ids = x'00', vectors = x''`} {
		x := newIndex(t)
		fill(t, x, "loose", maxBlockRows)
		updated(t, x, t.TempDir())
		change(t, x.Path(), `UPDATE blocks SET `+damage)
		err := x.Scan(t.Context(), func([]int64, []byte) error { return nil })
		require.ErrorIs(t, err, ErrDamaged, damage)
	}
}
