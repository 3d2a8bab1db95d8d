package index

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Blocks that are read ahead are passed on in the order of their ids, which have gaps.
func TestScanIsInOrder(t *testing.T) {
	x := newIndex(t)
	const n, gap = 3*scanBlock + 5, 2 * scanBlock
	change(t, x.Path(), fmt.Sprintf(`WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < %d)
		INSERT INTO loose SELECT id + iif(id > %d, %d, 0), cast(printf('%%08d', id) AS BLOB) FROM i`, n, scanBlock+7, gap))
	next := 1
	require.NoError(t, x.Scan(t.Context(), func(ids []int64, vectors []byte) error {
		require.LessOrEqual(t, len(ids), scanBlock)
		require.Len(t, vectors, 8*len(ids))
		for i, id := range ids {
			want := next
			if next > scanBlock+7 {
				want += gap
			}
			require.Equal(t, int64(want), id)
			require.Equal(t, fmt.Sprintf("%08d", next), string(vectors[8*i:8*i+8]))
			next++
		}
		return nil
	}))
	assert.Equal(t, n, next-1)

	stop, calls := errors.New("enough"), 0
	require.ErrorIs(t, x.Scan(t.Context(), func([]int64, []byte) error { calls++; return stop }), stop)
	assert.Equal(t, 1, calls)
}

// What an update that was killed has left without files is no picture.
func TestScanLeavesOutWhatHasNoFiles(t *testing.T) {
	path, _ := filled(t)
	x, err := Open(path)
	require.NoError(t, err)
	defer x.Close()
	w, err := newWriter(path, options.Dim, 0)
	require.NoError(t, err)
	defer w.close()
	require.NoError(t, (&update{Index: x, writer: w}).dropFiles([]int64{1, 5, 60}))
	assert.Len(t, all(t, x), 57)
	require.NoError(t, w.exec(`INSERT INTO orphans VALUES (7)`)) // as of one of two copies
	require.NoError(t, w.commit())
	assert.Len(t, all(t, x), 57)
}
