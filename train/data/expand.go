package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxExpanded is the most files that one name may stand for.
const maxExpanded = 1_000_000

// expand lists the files that a source means: {00..99} counts, {a,b} lists, * and ? stand
// for what is there, and :: parts sources, as in webdataset's names of shards. A file that
// has such a name itself is meant.
func expand(source string) (paths []string, err error) {
	if _, err := os.Stat(source); err == nil {
		return []string{source}, nil
	}
	for part := range strings.SplitSeq(source, "::") {
		names, err := braces(part)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !strings.ContainsAny(name, "*?[") {
				paths = append(paths, name)
				continue
			}
			found, err := filepath.Glob(name)
			if err != nil || len(found) == 0 {
				return nil, fmt.Errorf("%w: no file is named %s", ErrData, name)
			}
			paths = append(paths, found...)
		}
		if len(paths) > maxExpanded {
			return nil, fmt.Errorf("%w: %s stands for more than %d files", ErrData, source, maxExpanded)
		}
	}
	return paths, nil
}

// braces expands the first pair of braces of a name, and then those behind it.
func braces(name string) ([]string, error) {
	before, rest, found := strings.Cut(name, "{")
	inside, after, closed := strings.Cut(rest, "}")
	if !found || !closed {
		return []string{name}, nil
	}
	words, err := words(inside)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrData, name, err)
	}
	tails, err := braces(after)
	if err != nil {
		return nil, err
	}
	if len(words)*len(tails) > maxExpanded {
		return nil, fmt.Errorf("%w: %s stands for more than %d files", ErrData, name, maxExpanded)
	}
	all := make([]string, 0, len(words)*len(tails))
	for _, word := range words {
		for _, tail := range tails {
			all = append(all, before+word+tail)
		}
	}
	return all, nil
}

// words are what braces stand for: numbers of as many digits as the first has, or a list.
func words(inside string) ([]string, error) {
	first, last, counts := strings.Cut(inside, "..")
	if !counts {
		return strings.Split(inside, ","), nil
	}
	lo, err := strconv.Atoi(first)
	hi, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || lo < 0 || hi < lo || hi-lo >= maxExpanded {
		return nil, fmt.Errorf("{%s}: want two numbers, at most %d apart, the lower one first", inside, maxExpanded)
	}
	all := make([]string, 0, hi-lo+1)
	for n := lo; n <= hi; n++ {
		all = append(all, fmt.Sprintf("%0*d", len(first), n))
	}
	return all, nil
}
