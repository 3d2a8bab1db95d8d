package shaders

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Variant is a kernel file and the values that replace those of its constants, by their names: int, bool or float64,
// which keep the types of the const lines. What "weight" prints is the format of `//!use weight`, f32 where it is absent:
// lib/weight_FORMAT.wgsl is used. So is what "x" prints the form of `//!use x`, rows or windows.
type Variant struct {
	File   string
	Consts map[string]any
}

// String spells the file and the constants in the order of their names, such as "linear_split ACT=0 ROWS=4 weight=f16".
func (v Variant) String() string {
	var b strings.Builder
	b.WriteString(v.File)
	for _, name := range slices.Sorted(maps.Keys(v.Consts)) {
		fmt.Fprintf(&b, " %s=%v", name, v.Consts[name])
	}
	return b.String()
}

// With is v with more constants.
func (v Variant) With(more map[string]any) Variant {
	all := map[string]any{}
	maps.Copy(all, v.Consts)
	maps.Copy(all, more)
	return Variant{v.File, all}
}

// The marks that end a const line before other values of the constant: those worth trying, and the one for DX12.
const (
	tuneMark = "//!tune"
	dx12Mark = "//!dx12"
)

var markedLine = regexp.MustCompile(`^const (\w+)\b.*(` + tuneMark + `|` + dx12Mark + `)((?: +\d+)+)$`)

// tune is a constant and the values that its line asks for, the smallest first.
type tune struct {
	mark, name string
	values     []int
}

// tunes reads the marked lines of a kernel's file.
func tunes(lines []line) (all []tune, err error) {
	for _, ln := range lines {
		if !strings.Contains(ln.text, tuneMark) && !strings.Contains(ln.text, dx12Mark) {
			continue
		}
		m := markedLine.FindStringSubmatch(ln.text)
		if m == nil {
			return nil, ln.errorf("want `const NAME = VALUE;  %s N N …` or `const NAME = VALUE;  %s N`", tuneMark, dx12Mark)
		}
		t := tune{mark: m[2], name: m[1]}
		for _, text := range strings.Fields(m[3]) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, ln.errorf("%s: %w", t.mark, err)
			}
			t.values = append(t.values, n)
		}
		slices.Sort(t.values)
		t.values = slices.Compact(t.values)
		if t.mark == dx12Mark && len(t.values) > 1 {
			return nil, ln.errorf("%s: want one value", t.mark)
		}
		all = append(all, t)
	}
	return all, nil
}

// tunesOf gives the lines with a mark of a file, which it reads once.
func tunesOf(file, mark string) ([]tune, error) {
	all, err := cachedTunes(file)
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(t tune) bool { return t.mark != mark }), nil
}

func cachedTunes(file string) ([]tune, error) {
	from := kernelFolder()
	key := from.dir + " " + file
	cache.Lock()
	defer cache.Unlock()
	if all, ok := cache.tunes[key]; ok {
		return all, nil
	}
	src, err := fs.ReadFile(from, file+".wgsl")
	if err != nil {
		return nil, err
	}
	all, err := tunes(split(file+".wgsl", string(src)))
	if err == nil {
		cache.tunes[key] = all
	}
	return all, err
}

// Tuned lists v with the values that the tune lines of its file ask for, each an int: every value of each, crossed, the
// smallest first; v alone where there is no such line.
func (v Variant) Tuned() ([]Variant, error) {
	lines, err := tunesOf(v.File, tuneMark)
	if err != nil {
		return nil, err
	}
	all := []Variant{v}
	for _, t := range lines {
		var crossed []Variant
		for _, v := range all {
			for _, n := range t.values {
				crossed = append(crossed, v.With(map[string]any{t.name: n}))
			}
		}
		all = crossed
	}
	return all, nil
}

// DX12 is v for DX12, with the values that its file has for it. The WebGPU library zeroes workgroup memory there by one
// store an element, for which Microsoft's compilers take time in the square of an array's length: 0.3 s for 64 vec4 and
// 9 s for 256 in FXC. So these kernels use short arrays.
func (v Variant) DX12() (Variant, error) {
	lines, err := tunesOf(v.File, dx12Mark)
	if err != nil {
		return Variant{}, err
	}
	for _, t := range lines {
		v = v.With(map[string]any{t.name: t.values[0]})
	}
	return v, nil
}
