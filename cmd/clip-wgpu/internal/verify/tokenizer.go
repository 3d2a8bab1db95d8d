package verify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
)

// line is a line of a tokenizer case's files.
type line struct {
	Text          string          `json:"text"`
	IDs           []int32         `json:"ids"`
	ContextLength int             `json:"context_length"`
	Clean         tokenizer.Clean `json:"clean_fn"`
	Decoded       string          `json:"decoded"`
}

// verifyTokenizer counts the strings that the embedded vocabulary encodes, or
// decodes, otherwise than the reference does.
func verifyTokenizer(ctx context.Context, c *testCase) error {
	for _, file := range []struct {
		name  string
		right func(line) (bool, error)
	}{
		{"tokens_ctx77.jsonl", encodesRight},
		{"tokens_other.jsonl", encodesRight},
		{"decode.jsonl", decodesRight},
	} {
		if !c.has(file.name) {
			continue
		}
		if err := c.countWrong(ctx, file.name, file.right); err != nil {
			return fmt.Errorf("%s: %w", file.name, err)
		}
	}
	if len(c.rows) == 0 {
		return fmt.Errorf("%s: has no tokens_ctx77.jsonl, tokens_other.jsonl or decode.jsonl", c.dir)
	}
	return nil
}

// countWrong makes one row for a file; its error is the number of wrong lines.
func (c *testCase) countWrong(ctx context.Context, name string, right func(line) (bool, error)) error {
	f, err := os.Open(c.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	total, wrong, first := 0, 0, 0
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(scanner.Bytes()) == 0 {
			continue
		}
		total++
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return fmt.Errorf("line %d: %w", total, err)
		}
		ok, err := right(l)
		if err != nil {
			return fmt.Errorf("line %d: %w", total, err)
		}
		if !ok {
			if wrong++; wrong == 1 {
				first = total
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	note := fmt.Sprintf("%d of %d", total-wrong, total)
	if wrong > 0 {
		note += fmt.Sprintf(", line %d is the first wrong one", first)
	}
	c.add(name, float64(wrong), 0, note)
	return nil
}

// encodesRight compares ids, whose zero padding the file may have cut off.
func encodesRight(l line) (bool, error) {
	if l.ContextLength == 0 {
		l.ContextLength = tokenizer.DefaultContextLength
	}
	if l.Clean == "" {
		l.Clean = tokenizer.CleanLower
	}
	if len(l.IDs) > l.ContextLength {
		return false, fmt.Errorf("%d ids, want %d at most", len(l.IDs), l.ContextLength)
	}
	t, err := tokenizer.Default().WithClean(l.Clean)
	if err != nil {
		return false, err
	}
	want := append(slices.Clone(l.IDs), make([]int32, l.ContextLength-len(l.IDs))...)
	rows, err := t.Tokenize([]string{l.Text}, l.ContextLength)
	return err == nil && slices.Equal(rows[0], want), err
}

func decodesRight(l line) (bool, error) {
	got, err := tokenizer.Default().Decode(l.IDs)
	return got == l.Decoded, err
}
