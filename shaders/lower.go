package shaders

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	constLine   = regexp.MustCompile(`^const\s+(\w+)\s*(?::\s*([^=]+?))?\s*=\s*(.*?)\s*;$`)
	composite   = regexp.MustCompile(`^(vec\d|mat\d|array\b)`)
	assertLine  = regexp.MustCompile(`^const_assert\b\s*(.*?)\s*;$`)
	unsupported = regexp.MustCompile(`^\s*(?:@id\([^)]*\)\s*)?(override|enable|requires|diagnostic)\b|(/\*)`)
	innerConst  = regexp.MustCompile(`^\s+const(_assert)?\s`)
	workgroup   = regexp.MustCompile(`@workgroup_size\s*\(`)
	arrayType   = regexp.MustCompile(`\barray\s*<`)
)

// tileMark starts the line that says what a workgroup makes.
const tileMark = "//!tile "

// replaceMark ends the const lines of libraries whose values may be replaced.
const replaceMark = "//!replace"

// constDecl is a scalar const line at module scope, evaluated when first asked for: WGSL lets a use come before it.
type constDecl struct {
	at        int // index of its line
	typ, expr string
	override  string
	val       *value
	busy      bool
}

// lowering rewrites the const expressions of a composed kernel to the literals that naga 0.13 takes.
type lowering struct {
	lines  []line
	consts map[string]*constDecl
}

// lower evaluates constants, const_asserts, workgroup sizes and array lengths, after replacing the values in overrides.
// It writes out the loops that are to be unrolled, puts numbers into the tile line, and keeps every other line at its
// place.
func lower(name string, lines []line, overrides map[string]any) ([]line, error) {
	l := &lowering{lines: lines, consts: map[string]*constDecl{}}
	if err := l.collect(); err != nil {
		return nil, err
	}
	if err := l.override(name+".wgsl", overrides); err != nil {
		return nil, err
	}
	out := slices.Clone(lines)
	for i, ln := range lines {
		if tile, ok := strings.CutPrefix(ln.text, tileMark); ok {
			numbers, err := l.tile(tile)
			if err != nil {
				return nil, ln.errorf("%s: %w", strings.TrimSpace(tileMark), err)
			}
			out[i].text = tileMark + numbers
			continue
		}
		code := ln.code()
		text, err := l.line(code)
		if err != nil {
			return nil, ln.errorf("%w", err)
		}
		out[i].text = text + ln.text[len(code):]
	}
	return out, l.unroll(out)
}

func (l *lowering) collect() error {
	for i, ln := range l.lines {
		code := ln.code()
		if m := unsupported.FindStringSubmatch(code); m != nil {
			return ln.errorf("%s is not supported in kernels", m[1]+m[2])
		}
		if innerConst.MatchString(code) {
			return ln.errorf("const and const_assert belong at module scope, unindented; use let inside a function")
		}
		m := constLine.FindStringSubmatch(code)
		if m == nil {
			if strings.HasPrefix(code, "const ") {
				return ln.errorf("want `const NAME = VALUE;` on one line")
			}
			continue
		}
		if l.consts[m[1]] != nil {
			return ln.errorf("const %s is declared twice", m[1])
		}
		if !composite.MatchString(m[3]) {
			l.consts[m[1]] = &constDecl{at: i, typ: m[2], expr: m[3]}
		}
	}
	return nil
}

// override notes the new values of constants. It refuses names other than those of the kernel's own const lines and of
// the const lines that a library marks with //!replace.
func (l *lowering) override(file string, values map[string]any) error {
	own := func(name string) bool {
		c := l.consts[name]
		return c != nil && (l.lines[c.at].file == file || strings.HasSuffix(l.lines[c.at].text, replaceMark))
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if choices[name] != "" {
			continue
		}
		if !own(name) {
			var have []string
			for c := range l.consts {
				if own(c) {
					have = append(have, c)
				}
			}
			slices.Sort(have)
			return fmt.Errorf("%s: no scalar const %s to replace, it has %v", file, name, have)
		}
		l.consts[name].override = fmt.Sprint(values[name])
	}
	return nil
}

// lookup is the value of a module constant.
func (l *lowering) lookup(name string) (value, error) {
	c := l.consts[name]
	switch {
	case c == nil:
		return value{}, fmt.Errorf("%s is not a scalar const", name)
	case c.val != nil:
		return *c.val, nil
	case c.busy:
		return value{}, fmt.Errorf("const %s depends on itself", name)
	}
	c.busy = true
	x, err := eval(c.expr, l.lookup)
	if err == nil && c.typ != "" {
		x, err = convert(c.typ, x)
	}
	if err == nil && c.override != "" {
		x, err = replace(x.typ, c.override)
	}
	if err != nil {
		return value{}, fmt.Errorf("const %s: %w", name, err)
	}
	c.val = &x
	return x, nil
}

func replace(typ, text string) (value, error) {
	x, err := eval(text, func(string) (value, error) { return value{}, errors.New("not a literal") })
	if err != nil {
		return value{}, err
	}
	if x, err = convert(typ, x); err != nil {
		return value{}, fmt.Errorf("value %s: %w", text, err)
	}
	return x, nil
}

// line lowers one line's code.
func (l *lowering) line(code string) (string, error) {
	if m := constLine.FindStringSubmatch(code); m != nil && l.consts[m[1]] != nil {
		x, err := l.lookup(m[1])
		if err != nil {
			return "", err
		}
		typ, text := x.literal()
		return fmt.Sprintf("const %s: %s = %s;", m[1], typ, text), nil
	}
	if m := assertLine.FindStringSubmatch(code); m != nil {
		ok, err := eval(m[1], l.lookup)
		if err == nil && ok.typ != "bool" {
			err = fmt.Errorf("const_assert wants a bool, not %s", ok.typ)
		}
		if err == nil && ok.v.String() != "true" {
			err = fmt.Errorf("const_assert fails: %s", m[1])
		}
		return "", err
	}
	code, err := l.arrays(code)
	if err != nil {
		return "", err
	}
	at := workgroup.FindStringIndex(code)
	if at == nil {
		return code, nil
	}
	end := at[1] + closing(code[at[1]:])
	sizes := splitTop(code[at[1]:end])
	for i, s := range sizes {
		if sizes[i], err = l.count(s); err != nil {
			return "", fmt.Errorf("@workgroup_size: %w", err)
		}
	}
	return code[:at[1]] + strings.Join(sizes, ", ") + code[end:], nil
}

// arrays replaces the lengths of array types, innermost first.
func (l *lowering) arrays(code string) (string, error) {
	found := arrayType.FindAllStringIndex(code, -1)
	for _, at := range slices.Backward(found) {
		end := at[1] + closing(code[at[1]:])
		parts := splitTop(code[at[1]:end])
		if len(parts) != 2 {
			continue
		}
		n, err := l.count(parts[1])
		if err != nil {
			return "", fmt.Errorf("array length: %w", err)
		}
		code = code[:at[1]] + parts[0] + ", " + n + code[end:]
	}
	return code, nil
}

// tile evaluates one or two sizes with a blank between.
func (l *lowering) tile(sizes string) (string, error) {
	numbers := strings.Fields(sizes)
	if len(numbers) < 1 || len(numbers) > 2 {
		return "", fmt.Errorf("want one size or two, each without blanks")
	}
	for i, expr := range numbers {
		n, err := l.count(expr)
		if err != nil {
			return "", err
		}
		numbers[i] = n
	}
	return strings.Join(numbers, " "), nil
}

// count evaluates a positive integer.
func (l *lowering) count(expr string) (string, error) {
	x, err := eval(expr, l.lookup)
	if err != nil {
		return "", err
	}
	if n := x.v.ExactString(); x.isInt() && n != "0" && n[0] != '-' {
		return n, nil
	}
	return "", fmt.Errorf("%s is not a positive integer", strings.TrimSpace(expr))
}

// closing is the index of the bracket that closes the one just before s, or len(s).
func closing(s string) int {
	depth := 0
	for i, r := range s {
		switch r {
		case '<', '(':
			depth++
		case '>', ')':
			if depth--; depth < 0 {
				return i
			}
		}
	}
	return len(s)
}

// splitTop splits at the commas outside all brackets and trims the parts; a trailing comma adds none.
func splitTop(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range s + "," {
		switch r {
		case '<', '(':
			depth++
		case '>', ')':
			depth--
		case ',':
			if depth > 0 && i < len(s) {
				continue
			}
			if part := strings.TrimSpace(s[start:i]); part != "" {
				parts = append(parts, part)
			}
			start = i + 1
		}
	}
	return parts
}
