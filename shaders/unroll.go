package shaders

import (
	"regexp"
	"strconv"
	"strings"
)

// unrollMark asks for a loop's body as often as it runs.
const unrollMark = "//!unroll"

var (
	unrollLoop = regexp.MustCompile(`^(\s*)for \(var (\w+) = 0u; (\w+) < (.+); (\w+)\+\+\) \{$`)
	loopExit   = regexp.MustCompile(`\b(break|continue)\b`)
)

// unroll writes out the marked loops, innermost first, each on the line of its `for`, with the counter's values in the
// counter's place: what a compiler needs to keep arrays in registers.
func (l *lowering) unroll(lines []line) error {
	for i := len(lines) - 1; i >= 0; i-- {
		code := lines[i].code()
		if strings.TrimSpace(lines[i].text[len(code):]) != unrollMark {
			continue
		}
		m := unrollLoop.FindStringSubmatch(strings.TrimRight(code, " "))
		if m == nil || m[3] != m[2] || m[5] != m[2] {
			return lines[i].errorf("%s wants `for (var i = 0u; i < COUNT; i++) {`", unrollMark)
		}
		indent, counter := m[1], regexp.MustCompile(`\b`+m[2]+`\b`)
		text, err := l.count(m[4])
		if err != nil {
			return lines[i].errorf("%s: %w", unrollMark, err)
		}
		count, err := strconv.Atoi(text)
		if err != nil {
			return lines[i].errorf("%s: %w", unrollMark, err)
		}
		var body strings.Builder
		end := i + 1
		for ; end < len(lines) && strings.TrimRight(lines[end].code(), " ") != indent+"}"; end++ {
			code := strings.TrimSpace(lines[end].code())
			if loopExit.MatchString(code) {
				return lines[end].errorf("%s: the loop of line %d must run to its end", unrollMark, lines[i].num)
			}
			if code != "" {
				body.WriteString(code + " ")
			}
			lines[end].text = ""
		}
		if end == len(lines) {
			return lines[i].errorf("%s: no line %q ends the loop", unrollMark, indent+"}")
		}
		lines[end].text = ""
		copies := make([]string, count)
		for k := range copies {
			copies[k] = "{ " + counter.ReplaceAllLiteralString(body.String(), strconv.Itoa(k)+"u") + "}"
		}
		lines[i].text = indent + strings.Join(copies, " ")
	}
	return nil
}
