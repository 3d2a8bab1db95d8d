package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
	"github.com/spf13/cobra"
)

const searchHelp = `search finds the pictures of an index (clip-wgpu index) that look like the query, the
best first, with their scores: the cosines between query and picture, -1 to 1. The
arguments together are the query:

  beach at night        words are a term, what a picture should look like
  +sunset -people       a word after + or - begins another term, for or against it
  beach +sunset:0.5     a number after the last colon of a word is its term's weight
                        and ends the term; without one it is 1
  '"IMG_12"'            words in double quotes are part of the file's name, in either
                        case, and no term
  photo.jpg             an argument that is the name of an existing picture, with + or -
                        and a weight as words have, is a picture to search by; --image
                        takes a file of any name

The vector of the query is the sum of the terms' unit vectors by their weights, made a
unit vector again. Terms that cancel each other out leave nothing to search for, which
is an error. Without a term, pictures come as they were added to the index, the last
first. After -- all arguments are the query; before it -h and -v are flags.

Dates are 2024, 2024-05, 2024-05-31 or 2024-05-31T18:30, in local time: --since takes
the pictures from its beginning on, --until those up to its end. A picture's date is
that of its EXIF data, or else of its file.

Each line has a score and a path, of a picture with several files one that the filters
let pass. --json writes {"score":..., "path":..., "paths":[...], "width":..., "height":...,
"size":..., "modified":..., "taken":...} instead, --paths0 the paths alone with a NUL
behind each, for xargs -0. That nothing is found is no error: the exit code is 0.

--show draws the pictures, too: in kitty's graphics protocol where the terminal has it,
else in half blocks of 24-bit color.

The model is the index's.`

func newSearchCommand(g *globals) *cobra.Command {
	sr := searching{globals: g}
	var top count
	cmd := &cobra.Command{
		Use:   "search QUERY...",
		Short: "Find pictures of an index by words and pictures",
		Long:  searchHelp,
		Example: `  clip-wgpu search a dog on a beach
  clip-wgpu search beach +sunset:0.5 -people --since 2024 --top 5
  clip-wgpu search photo.jpg +snow --under ~/Pictures/2023
  clip-wgpu search receipt --paths0 | xargs -0 cp -t receipts`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			sr.query.Top = top.or(search.DefaultTop)
			return sr.command(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&sr.path, "index", "", indexFlagHelp)
	f.Var(&top, "top", fmt.Sprintf("pictures to find at most (default %d)", search.DefaultTop))
	f.Float32Var(&sr.query.Threshold, "threshold", 0, "least `score`")
	f.Var(dateFlag{&sr.query.Since, false}, "since", "only pictures from this `date` on")
	f.Var(dateFlag{&sr.query.Until, true}, "until", "only pictures up to this `date`")
	f.StringArrayVar(&sr.query.Under, "under", nil, "only pictures in or below this `folder`; may be given several times")
	f.StringArrayVar(&sr.query.Exclude, "exclude", nil, "no pictures in or below this `folder`; may be given several times")
	f.StringArrayVar(&sr.images, "image", nil, "picture's `file` to search by; may be given several times")
	f.BoolVar(&sr.paths0, "paths0", false, "write paths alone, with a NUL behind each")
	f.BoolVar(&sr.show, "show", false, "draw the pictures in the terminal")
	f.BoolVarP(&sr.verbose, "verbose", "v", false, "tell on stderr what was searched and how long it took")
	g.languageFlag(cmd)
	return cmd
}

// searching is one search command.
type searching struct {
	*globals
	path                  string
	query                 search.Query
	images                []string
	paths0, show, verbose bool
}

func (sr *searching) command(cmd *cobra.Command, args []string) error {
	if err := sr.check(cmd, args); err != nil {
		return err
	}
	path, err := indexPath(sr.path)
	if err != nil {
		return err
	}
	x, err := index.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return usageErrorf(cmd, "there is no index %s: clip-wgpu index DIR makes one", path)
	}
	if err != nil {
		return err
	}
	defer x.Close()
	if err := sr.chooseModel(cmd, x); err != nil {
		return err
	}
	start := time.Now()
	return withModel(cmd, sr.globals, func(ctx context.Context, s *session) error {
		found, err := interruptible(ctx, func() (search.Result, error) { return sr.find(ctx, s, x) })
		if err != nil {
			return err
		}
		s.cancelStartNote()
		s.clear()
		took := time.Since(start)
		if err := sr.write(ctx, cmd.OutOrStdout(), x, found); err != nil {
			return err
		}
		return sr.tell(ctx, s, x, found, took)
	})
}

func (sr *searching) check(cmd *cobra.Command, args []string) error {
	given := 0
	for _, one := range []bool{sr.json, sr.paths0, sr.show} {
		if one {
			given++
		}
	}
	if given > 1 {
		return usageErrorf(cmd, "want one of --json, --paths0 and --show")
	}
	if t := sr.query.Threshold; t != t {
		return usageErrorf(cmd, "--threshold %v: want a number", t)
	} else if t == 0 && cmd.Flags().Changed("threshold") {
		sr.query.Threshold = math.SmallestNonzeroFloat32 // 0 would be none
	}
	if slices.Contains(slices.Concat(sr.query.Under, sr.query.Exclude), "") { // which would be the current folder
		return usageErrorf(cmd, "--under and --exclude: a folder's name is empty")
	}
	terms, names, err := readQuery(args)
	if err != nil {
		return usageErrorf(cmd, "%v", err)
	}
	sr.query.Terms, sr.query.Names = terms, names
	for _, image := range sr.images {
		sr.query.Terms = append(sr.query.Terms, search.Term{Picture: image})
	}
	f := sr.query.Filter
	if len(sr.query.Terms)+len(f.Names)+len(f.Under)+len(f.Exclude) == 0 && f.Since.IsZero() && f.Until.IsZero() {
		return usageErrorf(cmd, "no query given")
	}
	return nil
}

// find searches the index.
func (sr *searching) find(ctx context.Context, s *session, x *index.Index) (search.Result, error) {
	searcher, err := search.Open(ctx, s.model, x)
	if err != nil {
		return search.Result{}, err
	}
	defer searcher.Close()
	return searcher.Search(ctx, sr.query)
}

// tell notes what was searched, and what of the query was too long.
func (sr *searching) tell(ctx context.Context, s *session, x *index.Index, found search.Result, took time.Duration) error {
	n, err := x.Len(ctx)
	if err != nil {
		return err
	}
	var texts []string
	for _, t := range sr.query.Terms {
		if t.Picture == "" {
			texts = append(texts, t.Text)
		}
	}
	for p := range tokenizeEach(ctx, s.model.Tokenizer(), s.model.Config().TextCfg.ContextLength, textInputs(texts)) {
		s.truncated.count(p)
	}
	s.noteTruncated(s.truncated)
	switch {
	case n == 0:
		s.note("the index %s has no pictures: clip-wgpu index DIR adds some", x.Path())
	case found.Searched == 0:
		s.note("none of %s is what the filters ask for", plural(n, "picture"))
	case len(found.Hits) == 0:
		s.note("none of %s has the score %v", plural(found.Searched, "picture"), sr.query.Threshold)
	}
	if sr.verbose {
		s.problem("%s searched of %s, with %s on %s: query %v, search %v, %v in all", plural(found.Searched, "picture"), x.Path(),
			s.model.Name(), s.model.Device().Info().Name, short(found.Encode), short(found.Search), short(took))
	}
	return nil
}

// short is a duration in three digits or so.
func short(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
