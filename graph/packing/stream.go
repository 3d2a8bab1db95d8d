package packing

import "sync"

// Pack reads a weight's values, row-major, and writes what the device holds, some
// panels at a time: words to be stored at an offset in bytes, valid until write
// returns. It returns the first error of read, CheckRange or write.
func (w Weight) Pack(read func(dst []float32, offset int) error, write func(offset int64, words []uint32) error) error {
	m := scratches.Get().(*scratch)
	defer scratches.Put(m)
	for _, r := range w.runs() {
		m.values, m.words = resized(m.values, r.rows*w.K), resized(m.words, r.words)
		if err := w.move(r, m.values, read); err != nil {
			return err
		}
		if err := w.CheckRange(m.values); err != nil {
			return err
		}
		w.eachPanel(r, m.values, m.words, w.encode)
		if err := write(4*int64(r.at), m.words); err != nil {
			return err
		}
	}
	return nil
}

// Unpack is Pack's way back: it reads what the device holds and writes the
// values, row-major.
func (w Weight) Unpack(read func(words []uint32, offset int64) error, write func(offset int, values []float32) error) error {
	var values []float32
	var words []uint32
	for _, r := range w.runs() {
		values, words = resized(values, r.rows*w.K), resized(words, r.words)
		if err := read(words, 4*int64(r.at)); err != nil {
			return err
		}
		w.eachPanel(r, values, words, w.decode)
		err := w.move(r, values, func(part []float32, offset int) error { return write(offset, part) })
		if err != nil {
			return err
		}
	}
	return nil
}

// run is what is packed at a time: whole panels, with their first row of W, how
// many rows, and their place in words.
type run struct{ row, rows, at, words int }

// runBlocks is about how many blocks of a row a run takes.
const runBlocks = 64

func (w Weight) runs() []run {
	most := 4 * w.Arrangement.panel() * ceil(runBlocks, w.Arrangement.panel())
	var all []run
	at := 0
	for row := 0; row < w.N; row += most {
		rows := min(most, w.N-row)
		words := w.words(rows)
		all = append(all, run{row, rows, at, words})
		at += words
	}
	return all
}

// words is the length of panels of so many rows of W.
func (w Weight) words(rows int) int { return ceil(rows, 4) * w.Depth() * blockWords[w.Format] }

// scratch is what a run is packed in, reused: a model has hundreds of weights,
// and clearing new memory for each shows in the time it takes to load.
type scratch struct {
	values []float32
	words  []uint32
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// resized is a slice of length n, in the memory of s where that is enough.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// move hands the parts of a run's values to f with their offsets in the whole:
// rows of W in one piece, or K columns of rows.
func (w Weight) move(r run, values []float32, f func(part []float32, offset int) error) error {
	if !w.Transposed {
		return f(values, r.row*w.K)
	}
	for i := range w.K {
		if err := f(values[i*r.rows:(i+1)*r.rows], i*w.N+r.row); err != nil {
			return err
		}
	}
	return nil
}

// panel is a panel's values, as they lie among those of its run, and its words.
type panel struct {
	rows       int       // of W
	values     []float32 // from its first on
	byRow, byK int       // the distances of neighbours in n and k
	words      []uint32
}

func (w Weight) eachPanel(r run, values []float32, words []uint32, f func(panel)) {
	byRow, byK := w.K, 1
	if w.Transposed {
		byRow, byK = 1, r.rows
	}
	most := 4 * w.Arrangement.panel()
	for row := 0; row < r.rows; row += most {
		rows := min(most, r.rows-row)
		length := w.words(rows)
		f(panel{rows, values[row*byRow:], byRow, byK, words[:length]})
		words = words[length:]
	}
}
