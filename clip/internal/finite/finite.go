// Package finite finds and names NaN, infinities and numbers that become one in float32.
package finite

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// Is reports whether v is neither NaN nor infinite.
func Is(v float32) bool { return v-v == 0 } // NaN and infinities give NaN

// All reports whether all values are.
func All(values []float32) bool {
	for _, v := range values {
		if !Is(v) {
			return false
		}
	}
	return true
}

// FirstNot returns the index of the first value that is not, or -1.
func FirstNot(values []float32) int {
	at := 0
	for ; at+len(eight{}) <= len(values) && (*eight)(values[at:]).finite(); at += len(eight{}) {
	}
	for i, v := range values[at:] {
		if !Is(v) {
			return at + i
		}
	}
	return -1
}

type eight [8]float32

// finite is All. Adding 1 to an exponent sets the sign's bit only where all its bits are
// ones, as in NaN and infinities. It does that to two numbers at a time.
func (e *eight) finite() bool {
	const exponents, ones, tops = 0x7f800000_7f800000, 1<<55 | 1<<23, 1<<63 | 1<<31
	p := (*[4]uint64)(unsafe.Pointer(e))
	sums := (p[0]&exponents + ones) | (p[1]&exponents + ones) | (p[2]&exponents + ones) | (p[3]&exponents + ones)
	return sums&tops == 0
}

// Exceptions are the tensors that hold, in float32, NaN or infinities.
type Exceptions []Exception

// Exception is one of them.
type Exception struct {
	Tensor  string
	Element int     // index of the first that is not finite
	Value   float64 // of that element, as stored: finite where float32 cannot hold it
}

// Warnings are one for each of NaN, infinities and numbers that become one,
// however many tensors hold them: after a training that diverged it is all of them.
func (e Exceptions) Warnings() []string {
	var nan, inf, beyond []string
	for _, b := range e {
		where := fmt.Sprintf("%s (element %d)", b.Tensor, b.Element)
		switch {
		case math.IsNaN(b.Value):
			nan = append(nan, where)
		case math.IsInf(b.Value, 0):
			inf = append(inf, where)
		default:
			beyond = append(beyond, fmt.Sprintf("%s (element %d is %v)", b.Tensor, b.Element, b.Value))
		}
	}
	var texts []string
	if beyond != nil {
		texts = append(texts, "computed as Inf, as float32 cannot hold it: tensor "+FirstFew(beyond))
	}
	if nan != nil {
		texts = append(texts, "NaN in tensor "+FirstFew(nan))
	}
	if inf != nil {
		texts = append(texts, "Inf in tensor "+FirstFew(inf))
	}
	return texts
}

// FirstFew lists the first three of names and counts the others.
func FirstFew(names []string) string {
	named := names[:min(len(names), 3)]
	text := strings.Join(named, ", ")
	if more := len(names) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
