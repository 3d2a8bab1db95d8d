// Package gallery is what the window of the demo command does, without window and GPU: it
// takes events, says what is to be done, and makes the scene that shows its state. One field
// takes words; below it are pictures, those that fit the words best first.
package gallery

import (
	"cmp"
	"image"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu/window"
)

// About is what the window says of itself.
type About struct {
	Adapter, Model string
	Pictures       int // in the index
}

// Hit is a picture of the index.
type Hit struct {
	ID    int64
	Path  string
	Score float32 // cosine
}

// Events beside those of package window.
type (
	// Found answers a Search. Hits are in the order in which they are shown.
	Found struct {
		Query          int // the Search's
		Hits           []Hit
		Ranked         bool // else the Scores mean nothing
		Encode, Search time.Duration
		Err            error
	}
	// Thumbnail is a small picture of a hit.
	Thumbnail struct {
		ID    int64
		Image *image.RGBA
		Err   error
	}
	// Progress is how far the indexing of a folder is.
	Progress struct {
		Folder      string
		Done, Total int // pictures; Total is 0 until it is known
		Rate        float64
		Finished    bool
		Pictures    int // in the index, when Finished; 0 where that is not known
		Err         error
	}
	// Failed is something else that went wrong.
	Failed struct{ Err error }
)

// Effect is what is to be done: one of the types below.
type Effect any

type (
	// Search asks for pictures by words or a picture's file or both; without any, for all.
	Search struct {
		Query         int // larger than those before
		Text, Picture string
	}
	// Open opens a file with the program that the system has for it.
	Open string
	// Reveal shows a file in its folder.
	Reveal string
	// Copy puts a text into the clipboard.
	Copy string
	// Index adds a folder's pictures to the index.
	Index string
	// Quit closes the window.
	Quit struct{}
)

// Gallery is the state of the window.
type Gallery struct {
	about    About
	size     image.Point
	scale    float64
	field    field
	picture  string // a file that hits shall be like
	asked    int    // the last Search
	found    Found  // the newest that came
	best     float32
	worst    float32
	selected int // index of a hit, or -1: the keys act on the field
	scroll   int // pixels of the grid above the window's
	thumbs   thumbs
	progress Progress
	problem  string // of the search that is shown
	failure  string // of anything else, until the user asks for something else
}

// New makes the state of a window that is about to open.
func New(about About) *Gallery {
	return &Gallery{about: about, scale: 1, selected: -1, thumbs: thumbs{byID: map[int64]*thumb{}}, progress: Progress{Finished: true}}
}

// Handle takes an event, of package window or of this one, and returns what is to be done.
func (g *Gallery) Handle(e any) []Effect {
	switch e := e.(type) {
	case window.Resize:
		g.size, g.scale = e.Size, max(e.Scale, 0.5)
		g.clampScroll()
		if g.selected >= 0 {
			g.selectHit(g.selected)
		}
		if g.asked == 0 {
			return g.search()
		}
	case window.Text:
		if g.field.insert(string(e)) {
			return g.search()
		}
	case window.Press:
		return g.press(e)
	case window.Click:
		return g.click(e)
	case window.Scroll:
		g.scroll += int(float64(e) * float64(g.px(scrollLine)))
		g.clampScroll()
	case window.Drop:
		return g.drop(e)
	case Found:
		g.take(e)
	case Thumbnail:
		g.thumbs.arrived(e)
	case Progress:
		return g.advance(e)
	case Failed:
		g.failure = e.Err.Error()
	}
	return nil
}

// search asks for what the field says now.
func (g *Gallery) search() []Effect {
	g.asked++
	g.selected, g.failure = -1, ""
	return []Effect{Search{g.asked, g.field.String(), g.picture}}
}

// take shows an answer, unless a newer one is shown.
func (g *Gallery) take(f Found) {
	if f.Query <= g.found.Query {
		return
	}
	if f.Err != nil {
		g.problem, g.found.Query = f.Err.Error(), f.Query
		return
	}
	g.problem, g.found, g.selected, g.scroll = "", f, -1, 0
	g.best, g.worst = 0, 0
	for i, h := range f.Hits {
		if i == 0 || h.Score > g.best {
			g.best = h.Score
		}
		if i == 0 || h.Score < g.worst {
			g.worst = h.Score
		}
	}
}

// advance shows how far indexing is, and at its end looks for what is new.
func (g *Gallery) advance(p Progress) []Effect {
	g.progress = p
	if !p.Finished {
		return nil
	}
	if p.Err == nil || p.Pictures > 0 {
		g.about.Pictures = p.Pictures
	}
	effects := g.search()
	if p.Err != nil {
		g.failure = p.Err.Error()
	}
	return effects
}

// drop searches by the first picture and indexes the folders.
func (g *Gallery) drop(paths window.Drop) (effects []Effect) {
	picture, failure := "", ""
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			failure = err.Error()
		case info.IsDir():
			effects = append(effects, Index(path))
		case picture == "":
			picture = path
		}
	}
	if picture != "" {
		g.picture = picture
		g.field.clear()
		effects = append(effects, g.search()...)
	}
	g.failure = failure
	return effects
}

// target is the hit that Enter and the like act on: the selected one, or the best.
func (g *Gallery) target() (path string, ok bool) {
	i := max(g.selected, 0)
	if i >= len(g.found.Hits) {
		return "", false
	}
	return g.found.Hits[i].Path, true
}

// click selects what is clicked; two clicks open it.
func (g *Gallery) click(c window.Click) []Effect {
	g.selected = -1
	if c.At.In(g.fieldBox()) {
		g.field.caret = g.caretAt(c.At.X)
		return nil
	}
	if i, ok := g.hitAt(c.At); ok {
		g.selected = i
		if c.Double {
			return []Effect{Open(g.found.Hits[i].Path)}
		}
	}
	return nil
}

// Hits are what is shown.
func (g *Gallery) Hits() []Hit { return g.found.Hits }

// Problem is what the foot of the window says that went wrong, or "".
func (g *Gallery) Problem() string { return cmp.Or(g.failure, g.problem) }

// Title is the window's.
func (g *Gallery) Title() string {
	const most = 100 // longer ones an X server may refuse
	what := []rune(g.field.String())
	if g.picture != "" {
		what = append([]rune("like "+filepath.Base(g.picture)+" "), what...)
	}
	if len(what) == 0 {
		return "clip-wgpu"
	}
	return string(what[:min(len(what), most)]) + " - clip-wgpu"
}

// Wanted are the pictures in sight, and next to it, whose thumbnails are missing.
func (g *Gallery) Wanted() []int64 {
	first, end := g.inSight()
	var ids []int64
	columns := g.grid().columns
	for i := first; i < min(end+2*columns, len(g.found.Hits)); i++ {
		if id := g.found.Hits[i].ID; g.thumbs.byID[id] == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
