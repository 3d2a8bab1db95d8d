package gallery

import (
	"image"
	"math"

	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// Distances in units of a display of usual density.
const (
	margin      = 24 // around the grid and the field
	gap         = 18 // between cells
	gridTop     = 20 // above the first row
	tileMin     = 158
	headHeight  = 84
	fieldHeight = 46
	footHeight  = 36
	nameHeight  = 30
	barHeight   = 4
	scrollLine  = 64

	fieldText = 17
	nameText  = 13
	footText  = 12.5
)

// px is a distance in pixels.
func (g *Gallery) px(units float64) int { return int(math.Round(units * g.scale)) }

func (g *Gallery) font(units float64, medium bool) scene.Font {
	return scene.Font{Size: math.Round(units*g.scale*2) / 2, Medium: medium}
}

// fieldBox is where the query is written.
func (g *Gallery) fieldBox() image.Rectangle {
	top := g.px(headHeight-fieldHeight) / 2
	return image.Rect(g.px(margin), top, max(g.size.X-g.px(margin), g.px(margin)), top+g.px(fieldHeight))
}

// gridBox is the part of the window that pictures scroll through.
func (g *Gallery) gridBox() image.Rectangle {
	top := g.px(headHeight)
	return image.Rect(0, top, g.size.X, max(g.size.Y-g.px(footHeight), top))
}

func (g *Gallery) footBox() image.Rectangle {
	return image.Rect(0, g.size.Y-g.px(footHeight), g.size.X, g.size.Y)
}

// grid is how cells lie side by side.
type grid struct {
	columns int
	left    int // of the first column
	tile    int // width and height of a picture's place
	pitch   image.Point
}

func (g *Gallery) grid() grid {
	width := g.size.X - 2*g.px(margin)
	columns := max((width+g.px(gap))/(g.px(tileMin)+g.px(gap)), 1)
	tile := max((width-(columns-1)*g.px(gap))/columns, 1)
	below := g.px(nameHeight)
	if g.found.Ranked {
		below += g.px(barHeight)
	}
	used := columns*tile + (columns-1)*g.px(gap)
	return grid{columns, (g.size.X - used) / 2, tile, image.Pt(tile+g.px(gap), tile+below+g.px(gap))}
}

// cell is where hit i is, with its name and bar.
func (g *Gallery) cell(i int) image.Rectangle {
	l := g.grid()
	at := image.Pt(l.left+i%l.columns*l.pitch.X, g.gridBox().Min.Y+g.px(gridTop)+i/l.columns*l.pitch.Y-g.scroll)
	return image.Rectangle{at, at.Add(l.pitch).Sub(image.Pt(g.px(gap), g.px(gap)))}
}

// Tile is where the picture of hit i is, within the window or not.
func (g *Gallery) Tile(i int) image.Rectangle {
	c := g.cell(i)
	c.Max.Y = c.Min.Y + c.Dx()
	return c
}

// inSight are the hits from first to before end.
func (g *Gallery) inSight() (first, end int) {
	l, n := g.grid(), len(g.found.Hits)
	row := max(g.scroll-g.px(gridTop), 0) / l.pitch.Y
	rows := g.gridBox().Dy()/l.pitch.Y + 2
	return min(row*l.columns, n), min((row+rows)*l.columns, n)
}

// hitAt is the hit at a place.
func (g *Gallery) hitAt(at image.Point) (i int, ok bool) {
	if !at.In(g.gridBox()) {
		return 0, false
	}
	first, end := g.inSight()
	for i := first; i < end; i++ {
		if at.In(g.cell(i)) {
			return i, true
		}
	}
	return 0, false
}

// height is how many pixels all cells take, one below the other.
func (g *Gallery) height() int {
	l := g.grid()
	rows := (len(g.found.Hits) + l.columns - 1) / l.columns
	return g.px(gridTop) + rows*l.pitch.Y
}

func (g *Gallery) clampScroll() {
	g.scroll = max(min(g.scroll, g.height()-g.gridBox().Dy()), 0)
}

// fit returns the largest rectangle that has size's proportions and lies within bounds, in
// their middle; small pictures stay at most twice their size.
func fit(size image.Point, bounds image.Rectangle, scale float64) image.Rectangle {
	if bounds.Empty() || size.X < 1 || size.Y < 1 {
		return image.Rectangle{}
	}
	f := min(float64(bounds.Dx())/float64(size.X), float64(bounds.Dy())/float64(size.Y), 2*scale)
	w, h := max(int(f*float64(size.X)+0.5), 1), max(int(f*float64(size.Y)+0.5), 1)
	corner := bounds.Min.Add(bounds.Size().Sub(image.Pt(w, h)).Div(2))
	return image.Rectangle{corner, corner.Add(image.Pt(w, h))}
}
