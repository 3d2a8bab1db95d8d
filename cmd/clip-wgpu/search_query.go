package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/walk"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/spf13/cobra"
)

// keepTerms keeps cobra from taking the words of search's query, such as -people, for
// short flags: it puts a space in front, which means nothing in a query.
func keepTerms(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || cmd.Name() != "search" {
		return args
	}
	kept := slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		isTerm := len(arg) > 1 && arg[0] == '-' && arg[1] != '-' && arg != "-h" && arg != "-v"
		if isTerm && (i == 0 || !takesValue(cmd, args[i-1])) {
			kept[i] = " " + arg
		}
	}
	return kept
}

// takesValue reports whether the argument that follows arg is a flag's value.
func takesValue(cmd *cobra.Command, arg string) bool {
	name, long := strings.CutPrefix(arg, "--")
	flag := cmd.Flag(name) // of the command or of its parents
	return long && flag != nil && flag.NoOptDefVal == ""
}

// readQuery reads the arguments of search: pictures that exist, and words.
func readQuery(args []string) (terms []search.Term, names []string, err error) {
	var words []string
	var pictures []search.Term
	for _, arg := range args {
		if picture, ok := pictureTerm(arg); ok {
			pictures = append(pictures, picture)
		} else {
			words = append(words, arg)
		}
	}
	q, err := search.Parse(strings.Join(words, " "))
	return append(q.Terms, pictures...), q.Names, err
}

// pictureTerm is the term of an argument that is an existing picture's name, with a sign
// and a weight or without.
func pictureTerm(arg string) (search.Term, bool) {
	arg = strings.TrimPrefix(arg, " ") // of keepTerms
	if isPicture(arg) {
		return search.Term{Picture: arg, Weight: 1}, true
	}
	sign, path := float32(1), arg
	if path != "" && (path[0] == '+' || path[0] == '-') {
		if path[0] == '-' {
			sign = -1
		}
		path = path[1:]
	}
	if isPicture(path) {
		return search.Term{Picture: path, Weight: sign}, true
	}
	at := strings.LastIndexByte(path, ':')
	if at < 0 || !isPicture(path[:at]) {
		return search.Term{}, false
	}
	weight, err := strconv.ParseFloat(path[at+1:], 32)
	if err != nil || weight == 0 || math.IsNaN(weight) {
		return search.Term{}, false
	}
	return search.Term{Picture: path[:at], Weight: sign * float32(weight)}, true
}

// isPicture reports whether path names a file that is there, by a name of pictures.
func isPicture(path string) bool {
	if !slices.Contains(walk.Extensions, strings.ToLower(filepath.Ext(path))) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// dateFlag is a flag's date: its beginning or its end.
type dateFlag struct {
	time *time.Time
	end  bool
}

// dateForms are the forms of dates, and how long each lasts.
var dateForms = []struct {
	layout string
	next   func(time.Time) time.Time
}{
	{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
	{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
	{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
}

func (d dateFlag) Set(text string) error {
	for _, form := range dateForms {
		t, err := time.ParseInLocation(form.layout, text, time.Local)
		if err != nil {
			continue
		}
		if d.end {
			t = form.next(t).Add(-1)
		}
		if year := t.Year(); year < 1700 || year > 2200 { // what fits the index's nanoseconds
			return fmt.Errorf("the year %d: want 1700 to 2200", year)
		}
		*d.time = t
		return nil
	}
	return errors.New("want a date such as 2024, 2024-05, 2024-05-31 or 2024-05-31T18:30")
}

func (d dateFlag) String() string {
	if d.time == nil || d.time.IsZero() {
		return ""
	}
	return d.time.Format(time.RFC3339)
}

func (d dateFlag) Type() string { return "date" }
