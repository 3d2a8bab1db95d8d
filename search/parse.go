package search

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// Parse reads a query as people type it:
//
//	beach at night +sunset:0.5 -people "IMG_12"
//
// Words are a term, what a picture should look like. A word that begins with + or - begins
// another term, and counts for or against it. A number after the last colon of a word is
// the term's weight and ends the term; without one it is 1. Words in double quotes are no
// term, but parts of the file's name, all of which it has. Errors match clip.ErrInput and
// name the term.
func Parse(query string) (Query, error) {
	p := parser{rest: query}
	for p.next() {
		if err := p.word(); err != nil {
			return Query{}, fmt.Errorf("%w: %w", clip.ErrInput, err)
		}
	}
	if err := p.end(); err != nil {
		return Query{}, fmt.Errorf("%w: %w", clip.ErrInput, err)
	}
	return p.query, nil
}

// parser is how far Parse is.
type parser struct {
	rest  string
	query Query
	words []string // of the term that is being read
	sign  string   // in front of it: "+", "-" or none
}

// next skips spaces and reports whether something follows.
func (p *parser) next() bool {
	p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
	return p.rest != ""
}

// word reads what follows up to the next space, or to the end of a quotation.
func (p *parser) word() error {
	if quoted, is := strings.CutPrefix(p.rest, `"`); is {
		return p.name(quoted)
	}
	if p.rest[0] == '+' || p.rest[0] == '-' {
		if err := p.end(); err != nil {
			return err
		}
		p.sign, p.rest = p.rest[:1], p.rest[1:]
		if p.next() && p.rest[0] == '"' {
			return fmt.Errorf("%s%s: parts of names take no sign", p.sign, p.rest)
		}
		if p.rest == "" || p.rest[0] == '+' || p.rest[0] == '-' {
			return fmt.Errorf("no word after %q", p.sign)
		}
	}
	end := strings.IndexFunc(p.rest, unicode.IsSpace)
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	text, weight, weighs := cutWeight(word)
	p.words = append(p.words, text)
	if weighs {
		return p.term(weight)
	}
	return nil
}

// name reads a quotation, whose first quote is cut off.
func (p *parser) name(quoted string) error {
	if err := p.end(); err != nil {
		return err
	}
	name, rest, closed := strings.Cut(quoted, `"`)
	switch {
	case !closed:
		return fmt.Errorf("no quote ends %q", `"`+quoted)
	case name == "":
		return fmt.Errorf("nothing in the quotes of %q", p.rest)
	}
	p.query.Names, p.rest = append(p.query.Names, name), rest
	return nil
}

// cutWeight cuts the weight from the end of a word.
func cutWeight(word string) (text string, weight float64, weighs bool) {
	at := strings.LastIndexByte(word, ':')
	if at < 0 || strings.ContainsAny(word[at+1:], "xX_pPnN") { // numbers as people write them
		return word, 1, false
	}
	weight, err := strconv.ParseFloat(word[at+1:], 64)
	if err != nil && !math.IsInf(weight, 0) {
		return word, 1, false
	}
	return word[:at], weight, true
}

// end ends a term without a weight, if one is being read.
func (p *parser) end() error {
	if p.words == nil {
		return nil
	}
	return p.term(1)
}

// term ends a term.
func (p *parser) term(weight float64) error {
	t := Term{Text: strings.TrimSpace(strings.Join(p.words, " ")), Weight: float32(weight)}
	if p.sign == "-" {
		t.Weight = -t.Weight
	}
	p.words, p.sign = nil, ""
	if t.Text == "" {
		return fmt.Errorf("a weight of %v without words", weight)
	}
	if t.Weight == 0 {
		return fmt.Errorf("term %q has the weight 0, which is too little to count", t.Text)
	}
	if err := t.check(); err != nil {
		return err
	}
	p.query.Terms = append(p.query.Terms, t)
	return nil
}
