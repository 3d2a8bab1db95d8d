package inflate

import (
	"bytes"
	"compress/zlib"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// text is of one of many kinds: random, of few values, runs, and repeats of all distances.
func text(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	kinds := 1 + rng.IntN(256)
	for i := range p {
		switch {
		case i > 0 && rng.IntN(8) > 0 && kinds%2 == 0:
			p[i] = p[i-1-rng.IntN(min(i, 1+rng.IntN(40000)))]
		default:
			p[i] = byte(rng.IntN(kinds))
		}
	}
	for range rng.IntN(4) {
		if from, to := rng.IntN(n+1), rng.IntN(n+1); from < to {
			copy(p[to:], p[from:to])
		}
	}
	return p
}

func pack(t testing.TB, p []byte, level int) []byte {
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, level)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// pieces hands out data in pieces of any size, and counts the bytes handed out.
func pieces(rng *rand.Rand, data []byte, most int) (more func() ([]byte, error), handed *int) {
	handed = new(int)
	return func() ([]byte, error) {
		if len(data) == 0 {
			return nil, io.EOF
		}
		piece := data[:min(len(data), 1+rng.IntN(most))]
		data = data[len(piece):]
		*handed += len(piece)
		return piece, nil
	}, handed
}

func TestInflate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Reader
	for i := range 300 {
		want := text(rng, rng.IntN([]int{10, 1000, 300000}[i%3]))
		packed := pack(t, want, []int{-2, 0, 1, 6, 9}[i%5])
		more, handed := pieces(rng, append(packed, "more"...), []int{1, 7, 100, 1 << 20}[i%4])
		r.Reset(more)
		got, p := []byte{}, make([]byte, 1+rng.IntN(100000))
		for {
			n, err := r.Read(p[:1+rng.IntN(len(p))])
			got = append(got, p[:n]...)
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
		}
		require.True(t, bytes.Equal(want, got), i)
		if i%4 == 0 {
			assert.Equal(t, len(packed), *handed, "no byte more than needed")
		}
	}
}

// compareWithZlib reads damaged data as compress/zlib does, with an error where that has one.
func compareWithZlib(t *testing.T, r *Reader, packed []byte) {
	got, gotErr := io.ReadAll(r)
	var want []byte
	z, wantErr := zlib.NewReader(bytes.NewReader(packed))
	if wantErr == nil {
		want, wantErr = io.ReadAll(z)
	}
	require.Equal(t, wantErr == nil, gotErr == nil, "%x: %v, %v", packed, wantErr, gotErr)
	// compress/zlib asks for as many bits as the end of the block has.
	require.True(t, bytes.Equal(want, got) || wantErr == io.ErrUnexpectedEOF && bytes.HasPrefix(got, want), "%x: %v, %v", packed, wantErr, gotErr)
	switch wantErr {
	case zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary, io.ErrUnexpectedEOF:
		require.Equal(t, wantErr, gotErr, "%x", packed)
	}
}

func TestInflateOfDamagedData(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var r Reader
	for i := range 2000 {
		packed := pack(t, text(rng, 1+rng.IntN(600)), []int{-2, 0, 1, 6, 9}[i%5])
		for range 1 + rng.IntN(3) {
			packed[rng.IntN(len(packed))] ^= 1 << rng.IntN(8)
		}
		packed = packed[:rng.IntN(len(packed)+1)]
		r.ResetBytes(packed)
		compareWithZlib(t, &r, packed)
	}
}

// All at once most codes are read by words, and in pieces of one byte none is.
func FuzzInflate(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range 20 {
		f.Add(pack(f, text(rng, 1+rng.IntN(3000)), []int{-2, 0, 1, 6, 9}[i%5]))
	}
	f.Add([]byte("\x78\x20000")) // ends within the name of a dictionary
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(packed) > 1<<16 {
			return // gives up to 64 MiB in 65 KiB
		}
		var r Reader
		r.ResetBytes(packed)
		compareWithZlib(t, &r, packed)
		more, _ := pieces(rng, packed, 1)
		r.Reset(more)
		compareWithZlib(t, &r, packed)
	})
}

func TestAdler(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		p, sum := text(rng, rng.IntN(20000)), adler(1)
		for i := range p[:len(p)/2] {
			p[i] = 255
		}
		cut := rng.IntN(len(p) + 1)
		sum.add(p[:cut])
		sum.add(p[cut:])
		assert.Equal(t, adler32.Checksum(p), uint32(sum))
	}
}

func BenchmarkInflate(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := text(rng, 4<<20)
	packed := pack(b, p, 6)
	b.SetBytes(int64(len(p)))
	var r Reader
	for b.Loop() {
		r.ResetBytes(packed)
		_, err := io.Copy(io.Discard, &r)
		require.NoError(b, err)
	}
}
