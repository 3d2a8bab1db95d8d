// Package check holds the rules that configurations keep: each names the key and
// what was expected of it.
package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrConfig is matched by errors about configurations that describe no model.
var ErrConfig = errors.New("invalid model config")

// Bounds on what a config may ask for: far beyond every published model, and
// small enough that shapes and byte counts cannot overflow.
const (
	MaxWidth  = 1 << 16
	MaxLayers = 1 << 10
	MaxVocab  = 1 << 24
	MaxSide   = 1 << 13
)

// First returns the first error that is not nil.
func First(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// InRange wants lo ≤ v ≤ hi.
func InRange(name string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%w: %s is %d, want %d to %d", ErrConfig, name, v, lo, hi)
	}
	return nil
}

// Ratio wants a positive ratio to a width that gives at least one element.
func Ratio(name string, r float64, width int) error {
	if !(r > 0 && r <= 1024) || int(r*float64(width)) < 1 {
		return fmt.Errorf("%w: %s is %v with a width of %d", ErrConfig, name, r, width)
	}
	return nil
}

// Divisible wants d to divide v.
func Divisible(name string, v int, by string, d int) error {
	if d < 1 || v%d != 0 {
		return fmt.Errorf("%w: %s (%d) is not divisible by %s (%d)", ErrConfig, name, v, by, d)
	}
	return nil
}

// OneOf wants v to be among those allowed.
func OneOf(name, v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		return fmt.Errorf("%w: %s is %q, want one of %q", ErrConfig, name, v, allowed)
	}
	return nil
}

// DropRate wants a probability below 1.
func DropRate(name string, rate float64) error {
	if !(rate >= 0 && rate < 1) {
		return fmt.Errorf("%w: %s is %v, want at least 0 and below 1", ErrConfig, name, rate)
	}
	return nil
}

// Ignored is the warning that a section has keys which open_clip drops; none
// without such keys.
func Ignored(section string, keys []string) []string {
	if len(keys) == 0 {
		return nil
	}
	var names []string
	for _, key := range keys[:min(len(keys), 10)] {
		if quoted := fmt.Sprintf("%.60q", key); quoted != `"`+key+`"` {
			key = quoted
		}
		names = append(names, key)
	}
	if n := len(keys) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return []string{fmt.Sprintf("%s: ignored, as by open_clip: %s", section, strings.Join(names, ", "))}
}

// ErrInput is matched by errors about arguments that do not fit a model.
var ErrInput = errors.New("invalid input")

// Rows compares a number of elements with the first dimension of their shape. It
// divides, because the product of a shape that makes no sense may overflow.
func Rows(name string, shape []int, elems, row int) error {
	if n := shape[0]; n < 0 || elems%row != 0 || elems/row != n {
		return fmt.Errorf("%w: %s of shape %v with %d elements, want %d for each of the %d", ErrInput, name, shape, elems, row, n)
	}
	return nil
}

// MaxElements bounds a tensor that is made on the host, such as a position embedding
// of another size: 256 MiB in float32. ViT-bigG at 2,048 pixels has half of that.
const MaxElements = 1 << 26

// Elements bounds the elements of a position embedding [rows, width].
func Elements(name string, rows, width int) error {
	if rows > MaxElements/width {
		return fmt.Errorf("%w: %s has %d positions of width %d, want at most %d elements", ErrConfig, name, rows, width, MaxElements)
	}
	return nil
}
