package weights

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"
)

// Limits of a pickle. The counts are far beyond any checkpoint; together they
// bound what a hostile pickle of maxPickle bytes can make the machine hold.
const (
	maxPickle     = 64 << 20
	maxPickled    = 1_000_000 // entries of the stack and of the memo, marks, containers, and with them nesting
	maxPickledAll = 2 * maxPickled
)

// The objects that a pickle can make. There are also nil, bool, int64,
// float64, and what pickle_globals.go has of tensors.
type (
	text   string
	long   string // an integer beyond 64 bits: its little-endian two's complement
	tuple  []any
	list   struct{ items []any }
	set    struct{}
	dict   struct{ keys, values []any } // in the order of insertion
	record struct {                     // an object of TorchScript
		class string
		state any
	}
	global string // "module.name"
	inert  string // the result of "calling" this global; no tensor needs its value
)

// pickle is a virtual machine for the part of Python's pickle format that
// checkpoints need (https://peps.python.org/pep-0307/, pickletools.py). It has
// no way to import or call anything: a global is a name, and the few that can
// be "called" are cases of a switch. All else is refused.
type pickle struct {
	raw         []byte
	pos         int // of the next byte
	op          int // of the opcode at work
	stack       []any
	marks       []int // lengths of the stack
	memo        map[uint32]any
	containers  int
	all         int // objects made so far
	torchScript bool
	storages    map[string]*pickledStorage // what persistent ids named
}

func newPickle(raw []byte) *pickle {
	return &pickle{raw: raw, memo: map[uint32]any{}, storages: map[string]*pickledStorage{}}
}

// load runs the pickle that begins at pos and leaves pos behind it.
func (p *pickle) load() (any, error) {
	p.stack, p.marks = nil, nil
	clear(p.memo)
	for {
		p.op = p.pos
		code, err := p.next(1)
		if err != nil {
			return nil, err
		}
		if code[0] == '.' {
			return p.pop()
		}
		run := opcodes[code[0]]
		if run == nil {
			return nil, fail(ErrForbidden, "", "refused: pickle opcode %s at byte %d is not one of those that hold weights; save it by torch.save with pickle_protocol 2, the default", opcodeName(code[0]), p.op)
		}
		if err := run(p); err != nil {
			return nil, err
		}
	}
}

// next is the next n bytes.
func (p *pickle) next(n int) ([]byte, error) {
	if n > len(p.raw)-p.pos {
		return nil, fail(ErrTruncated, "", "cut short: the pickle's opcode at byte %d wants %d bytes more, %d are left", p.op, n, len(p.raw)-p.pos)
	}
	p.pos += n
	return p.raw[p.pos-n : p.pos], nil
}

// number reads an unsigned little-endian integer of 1, 2 or 4 bytes.
func (p *pickle) number(bytes int) (uint32, error) {
	raw, err := p.next(bytes)
	var v uint32
	for i, b := range raw {
		v |= uint32(b) << (8 * i)
	}
	return v, err
}

func (p *pickle) malformed(format string, args ...any) error {
	return fail(ErrMalformed, "", "pickle, byte %d: %s", p.op, fmt.Sprintf(format, args...))
}

// count adds to the objects made so far.
func (p *pickle) count(n int) error {
	if p.all += n; p.all > maxPickledAll {
		return p.malformed("more than %d objects", maxPickledAll)
	}
	return nil
}

func (p *pickle) push(v any) error {
	if err := p.count(1); err != nil {
		return err
	}
	if len(p.stack) == maxPickled {
		return p.malformed("more than %d objects on the stack", maxPickled)
	}
	p.stack = append(p.stack, v)
	return nil
}

func (p *pickle) pushContainer(v any) error {
	if p.containers++; p.containers > maxPickled {
		return p.malformed("more than %d containers, or nesting deeper than that", maxPickled)
	}
	return p.push(v)
}

func (p *pickle) floor() int {
	if len(p.marks) == 0 {
		return 0
	}
	return p.marks[len(p.marks)-1]
}

func (p *pickle) popN(n int) ([]any, error) {
	at := len(p.stack) - n
	if at < p.floor() {
		return nil, p.malformed("%d objects wanted, %d are on the stack", n, len(p.stack)-p.floor())
	}
	items := p.stack[at:]
	p.stack = p.stack[:at]
	return items, nil
}

func (p *pickle) pop() (any, error) {
	items, err := p.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// popToMark takes what lies above the topmost mark, and the mark. The items
// are valid until the next push.
func (p *pickle) popToMark() ([]any, error) {
	if len(p.marks) == 0 {
		return nil, p.malformed("no mark on the stack")
	}
	items, err := p.popN(len(p.stack) - p.floor())
	p.marks = p.marks[:len(p.marks)-1]
	return items, err
}

func (p *pickle) proto() error {
	version, err := p.number(1)
	if err == nil && version > 5 {
		err = p.malformed("protocol %d, at most 5 expected", version)
	}
	return err
}

func (p *pickle) mark() error {
	if len(p.marks) == maxPickled {
		return p.malformed("more than %d marks", maxPickled)
	}
	p.marks = append(p.marks, len(p.stack))
	return nil
}

func (p *pickle) tuple(n int) error {
	items, err := p.popN(n)
	if err != nil {
		return err
	}
	return p.pushContainer(append(tuple(nil), items...))
}

func (p *pickle) tupleToMark() error {
	items, err := p.popToMark()
	if err != nil {
		return err
	}
	return p.pushContainer(append(tuple(nil), items...))
}

// isUTF8 accepts surrogates, too: Python writes them for file names that are not UTF-8.
func isUTF8(raw []byte) bool {
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if r == utf8.RuneError && size == 1 {
			if len(raw) < 3 || raw[0] != 0xed || raw[1]&0xe0 != 0xa0 || raw[2]&0xc0 != 0x80 {
				return false
			}
			size = 3
		}
		raw = raw[size:]
	}
	return true
}

func (p *pickle) string(lengthBytes int) error {
	n, err := p.number(lengthBytes)
	if err != nil {
		return err
	}
	raw, err := p.next(int(n))
	if err != nil {
		return err
	}
	if !isUTF8(raw) {
		return p.malformed("a string is not UTF-8")
	}
	return p.push(text(bytes.ToValidUTF8(raw, []byte("\ufffd"))))
}

func (p *pickle) int(bytes int) error {
	v, err := p.number(bytes)
	if err != nil {
		return err
	}
	if bytes == 4 {
		return p.push(int64(int32(v)))
	}
	return p.push(int64(v))
}

func (p *pickle) long() error {
	n, err := p.number(1)
	if err != nil {
		return err
	}
	raw, err := p.next(int(n))
	if err != nil {
		return err
	}
	if n > 8 {
		return p.push(long(raw))
	}
	var v int64
	for i, b := range raw {
		v |= int64(b) << (8 * i)
	}
	if n > 0 && n < 8 { // the highest bit is the sign
		v = v << (64 - 8*n) >> (64 - 8*n)
	}
	return p.push(v)
}

func (p *pickle) float() error {
	raw, err := p.next(8)
	if err != nil {
		return err
	}
	var bits uint64
	for _, b := range raw { // the one big-endian number of the format
		bits = bits<<8 | uint64(b)
	}
	return p.push(math.Float64frombits(bits))
}

func (p *pickle) put(bytes int) error {
	i, err := p.number(bytes)
	if err != nil {
		return err
	}
	if len(p.stack) == p.floor() {
		return p.malformed("nothing on the stack to remember")
	}
	if len(p.memo) == maxPickled {
		return p.malformed("more than %d objects in the memo", maxPickled)
	}
	p.memo[i] = p.stack[len(p.stack)-1]
	return nil
}

func (p *pickle) get(bytes int) error {
	i, err := p.number(bytes)
	if err != nil {
		return err
	}
	v, ok := p.memo[i]
	if !ok {
		return p.malformed("memo %d was never set", i)
	}
	return p.push(v)
}

// top returns the object on top of the stack, of type T. Its items have been popped
// before. what names T in errors.
func top[T any](p *pickle, what string) (v T, err error) {
	if len(p.stack) == p.floor() {
		return v, p.malformed("nothing on the stack, %s expected", what)
	}
	v, ok := p.stack[len(p.stack)-1].(T)
	if !ok {
		return v, p.malformed("%s expected on the stack, %s found", what, describeObject(p.stack[len(p.stack)-1]))
	}
	return v, nil
}

func (p *pickle) setItem() error {
	items, err := p.popN(2)
	if err != nil {
		return err
	}
	return p.insert(items)
}

func (p *pickle) setItems() error {
	items, err := p.popToMark()
	if err == nil && len(items)%2 != 0 {
		err = p.malformed("a key without a value")
	}
	if err != nil {
		return err
	}
	return p.insert(items)
}

func (p *pickle) insert(items []any) error {
	d, err := top[*dict](p, "a dict")
	if err != nil {
		return err
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
	return nil
}

func (p *pickle) append() error {
	items, err := p.popN(1)
	if err != nil {
		return err
	}
	return p.extend(items)
}

func (p *pickle) appends() error {
	items, err := p.popToMark()
	if err != nil {
		return err
	}
	return p.extend(items)
}

func (p *pickle) extend(items []any) error {
	l, err := top[*list](p, "a list")
	if err == nil {
		l.items = append(l.items, items...)
	}
	return err
}

// line is the text up to the next newline.
func (p *pickle) line() (string, error) {
	n := bytes.IndexByte(p.raw[p.pos:], '\n')
	if n < 0 {
		return "", fail(ErrTruncated, "", "cut short: the pickle's opcode at byte %d has a name without an end", p.op)
	}
	raw, err := p.next(n + 1)
	return string(raw[:n]), err
}
