package shaders

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Variant is a kernel file and the values that replace those of its constants.
type Variant struct {
	File   string
	Consts Consts
}

// Consts are values by the names of const lines: int, bool or float64, which keep the lines' types. What "weight" prints
// is the format of `//!use weight`, f32 where it is absent.
type Consts map[string]any

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
func (v Variant) With(more Consts) Variant {
	all := Consts{}
	maps.Copy(all, v.Consts)
	maps.Copy(all, more)
	return Variant{v.File, all}
}

var tuneLine = regexp.MustCompile(`^const (\w+)\b.*//!tune (.+)$`)

// Tuned lists the variants of a file that its tune lines ask for: every value of each, crossed; the file alone where it
// has no such line.
func Tuned(file string) ([]Variant, error) {
	src, err := files.ReadFile(file + ".wgsl")
	if err != nil {
		return nil, fmt.Errorf("shaders: %w", err)
	}
	all := []Variant{{File: file}}
	for _, ln := range split(file+".wgsl", string(src)) {
		m := tuneLine.FindStringSubmatch(ln.text)
		if m == nil {
			continue
		}
		var crossed []Variant
		for _, v := range all {
			for _, text := range strings.Fields(m[2]) {
				n, err := strconv.Atoi(text)
				if err != nil {
					return nil, ln.errorf("//!tune: %w", err)
				}
				crossed = append(crossed, v.With(Consts{m[1]: n}))
			}
		}
		all = crossed
	}
	return all, nil
}
