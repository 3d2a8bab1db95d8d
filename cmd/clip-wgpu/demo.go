package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	emojiclip "github.com/clip-wgpu/clip-wgpu/clip/emoji-clip"
	"github.com/clip-wgpu/clip-wgpu/cmd/clip-wgpu/internal/gallery"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

func newDemoCommand(g *globals) *cobra.Command {
	path := ""
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Search pictures in a window, as you type",
		Long: `demo opens a window on an index of pictures (see clip-wgpu index): type what is on a
picture, and with every key those that fit best come to the top. It shows the index
that --index names or, without it, your own; where there is none, the drawings that
come with the program and its embedded model, which knows nothing else.

The window takes what search takes: beach +sunset:0.5 -people "IMG_12". Besides,

  a picture dropped on it     searches for pictures like that one; words go with it
  a folder dropped on it      is added to the index
  down, then the arrows       choose a picture
  Enter                       opens the chosen picture, or the best one
  Ctrl+Enter                  shows it in its folder
  Ctrl+C                      copies its path
  Esc                         clears the field, then closes the window

The footer says which model computes, where, and how many milliseconds it took to
encode what was typed and to search. The font has Latin, Greek and Cyrillic letters;
boxes stand for others, which a model that knows them is asked for all the same.`,
		Example: `  clip-wgpu demo
  clip-wgpu demo --index holiday.db`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf(cmd, "demo takes no arguments, %q given: clip-wgpu index adds folders", args[0])
			}
			if !canShow {
				return usageErrorf(cmd, "this program is built without a window, make desktop builds clip-wgpu-desktop with one")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, g, path) },
	}
	cmd.Flags().StringVar(&path, "index", "", indexFlagHelp)
	return cmd
}

// runDemo opens the index, its model and the window.
func runDemo(cmd *cobra.Command, g *globals, path string) error {
	x, err := openIndex(path)
	if errors.Is(err, errNoIndex) {
		return withModel(cmd, g, func(ctx context.Context, s *session) error { return showDrawings(ctx, s, g, showDemo) })
	}
	if errors.Is(err, fs.ErrNotExist) {
		return usageErrorf(cmd, "there is no index %s: clip-wgpu index DIR makes one", path)
	}
	if err != nil {
		return err
	}
	defer x.Close()
	if err := g.chooseModel(cmd, x); err != nil {
		return err
	}
	return withModel(cmd, g, func(ctx context.Context, s *session) error { return showIndex(ctx, s, x, "", showDemo) })
}

// errNoIndex: the user has made none.
var errNoIndex = errors.New("there is no index")

// openIndex opens the index in a file or, where that is "", the user's own.
func openIndex(file string) (*index.Index, error) {
	path, err := indexPath(file)
	if err != nil {
		return nil, err
	}
	x, err := index.Open(path)
	if file == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, errNoIndex
	}
	return x, err
}

// show is a function that shows a demo and returns when the user has seen enough.
type show func(context.Context, *gpu.Device, *demo) error

// showDrawings shows the drawings that come with the program, from an index that is gone
// with the window.
func showDrawings(ctx context.Context, s *session, g *globals, show show) error {
	folder, err := os.MkdirTemp("", "clip-wgpu-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := os.CopyFS(folder, emojiclip.Examples); err != nil {
		return err
	}
	o, err := search.Options(ctx, s.model, g.model)
	if err != nil {
		return err
	}
	x, err := index.Create(filepath.Join(folder, "pictures.db"), o)
	if err != nil {
		return err
	}
	defer x.Close()
	p := &indexFinder{session: s, index: x}
	if _, err := p.update(ctx, filepath.Join(folder, "examples"), nil); err != nil {
		return err
	}
	refusal := ""
	if g.model == "" { // nobody chose a model for pictures of his own
		refusal = fmt.Sprintf("%s has never seen a photograph: add folders by clip-wgpu index, with a model that has", s.model.Name())
	}
	return showIndex(ctx, s, x, refusal, show)
}

// showIndex shows an index. refusal, unless it is "", says why no folder can
// be added.
func showIndex(ctx context.Context, s *session, x *index.Index, refusal string, show show) error {
	searcher, err := search.Open(ctx, s.model, x)
	if err != nil {
		return err
	}
	defer searcher.Close()
	n, err := x.Len(ctx)
	if err != nil {
		return err
	}
	s.cancelStartNote()
	s.clear()
	g := gallery.New(gallery.About{Adapter: s.model.Device().Info().Name, Model: s.model.Name(), Pictures: n})
	d := newDemo(g, &indexFinder{session: s, index: x, searcher: searcher, refusal: refusal})
	return d.run(ctx, func(ctx context.Context) error { return show(ctx, s.model.Device(), d) })
}
