package hf

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// span is a part of a text, in bytes: a match of a pattern or what lies between.
type span struct {
	start, end int
	match      bool
}

// pattern cuts a text into spans that cover it.
type pattern func(text string) []span

// runes is the pattern of single characters.
func runes(is func(rune) bool) pattern {
	return func(text string) (spans []span) {
		last := 0
		for i, r := range text {
			if !is(r) {
				continue
			}
			end := i + utf8.RuneLen(r)
			if last < i {
				spans = append(spans, span{last, i, false})
			}
			spans = append(spans, span{i, end, true})
			last = end
		}
		return rest(spans, last, len(text))
	}
}

func rest(spans []span, last, end int) []span {
	if last < end {
		spans = append(spans, span{last, end, false})
	}
	return spans
}

func literal(s string) pattern {
	return func(text string) (spans []span) {
		last := 0
		for {
			i := strings.Index(text[last:], s)
			if i < 0 {
				return rest(spans, last, len(text))
			}
			spans = append(rest(spans, last, last+i), span{last + i, last + i + len(s), true})
			last += i + len(s)
		}
	}
}

// regexTimeout bounds the time of one search, since an expression may take
// exponential time; what is left then is one span.
const regexTimeout = 5 * time.Second

// regex compiles an Oniguruma regular expression.
func regex(expr string) (pattern, error) {
	re, err := regexp2.Compile(widenWord(expr), regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	re.MatchTimeout = regexTimeout
	return func(text string) (spans []span) {
		if text == "" {
			return nil // as in the library, which leaves empty texts alone
		}
		chars := []rune(text)
		offset := make([]int, len(chars)+1) // in bytes, of each character
		for i, r := range chars {
			offset[i+1] = offset[i] + utf8.RuneLen(r)
		}
		last := 0
		for m, err := re.FindRunesMatch(chars); m != nil && err == nil; m, err = re.FindNextMatch(m) {
			start, end := offset[m.Index], offset[m.Index+m.Length]
			spans = append(rest(spans, last, start), span{start, end, true})
			last = end
		}
		return rest(spans, last, len(text))
	}, nil
}

// Words compiles a regular expression that cuts a text into words. What it does not
// match is a word, too, so that nothing of a text is lost.
func Words(expr string) (func(text string) []string, error) {
	split, err := regex(expr)
	if err != nil {
		return nil, err
	}
	return func(text string) []string {
		var words []string
		for _, s := range split(text) {
			words = append(words, text[s.start:s.end])
		}
		return words
	}, nil
}

// wordClass is Oniguruma's \w within brackets: alphabetic characters, marks,
// decimal digits, connectors and Latin-1's other numbers. regexp2 follows .NET,
// which has fewer.
const wordClass = `\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\u24B6-\u24E9\u00B2\u00B3\u00B9\u00BC-\u00BE`

// widenWord spells out \w.
func widenWord(expr string) string {
	var b strings.Builder
	depth := 0 // of brackets
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\' && i+1 < len(expr):
			i++
			switch {
			case expr[i] == 'w' && depth > 0:
				b.WriteString(wordClass)
			case expr[i] == 'w':
				b.WriteString("[" + wordClass + "]")
			case expr[i] == 'W' && depth == 0:
				b.WriteString("[^" + wordClass + "]")
			default:
				b.WriteString(expr[i-1 : i+1])
			}
			continue
		case c == '[':
			depth++
		case c == ']':
			depth = max(0, depth-1)
		}
		b.WriteByte(expr[i])
	}
	return b.String()
}

// patternJSON is {"String": ...} or {"Regex": ...}.
type patternJSON struct {
	String *string
	Regex  *string
}

func (p *patternJSON) compile() (pattern, error) {
	switch {
	case p.Regex != nil:
		return regex(*p.Regex)
	case p.String != nil && *p.String != "":
		return literal(*p.String), nil
	case p.String != nil:
		return regex("") // as in the library, which matches at both ends of every character
	}
	return nil, fmt.Errorf("pattern: want String or Regex")
}

// behavior says what becomes of the spans that match (SplitDelimiterBehavior).
type behavior string

func (b *behavior) UnmarshalJSON(data []byte) error {
	var s string
	if err := strictjson.Unmarshal(data, &s); err != nil {
		return err
	}
	switch *b = behavior(s); *b {
	case "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous":
		return nil
	}
	return fmt.Errorf("behavior %q is not supported", s)
}

// apply returns the spans that remain.
func (b behavior) apply(spans []span) []span {
	out := make([]span, 0, len(spans))
	previous := false // whether the span before is a match
	switch b {
	case "Removed":
		for _, s := range spans {
			if !s.match {
				out = append(out, s)
			}
		}
		return out
	case "MergedWithNext":
		for i := len(spans) - 1; i >= 0; i-- {
			if s := spans[i]; s.match && !previous && len(out) > 0 {
				out[len(out)-1].start = s.start
			} else {
				out = append(out, s)
			}
			previous = spans[i].match
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return out
	}
	for _, s := range spans {
		join := b == "Contiguous" && s.match == previous || b == "MergedWithPrevious" && s.match && !previous
		if join && len(out) > 0 {
			out[len(out)-1].end = s.end
		} else {
			out = append(out, s)
		}
		previous = s.match
	}
	return out
}
