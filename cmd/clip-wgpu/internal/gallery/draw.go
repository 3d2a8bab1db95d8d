package gallery

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

func gray(rgb uint32) color.NRGBA {
	return color.NRGBA{byte(rgb >> 16), byte(rgb >> 8), byte(rgb), 0xff}
}

var (
	backColor   = gray(0x111318)
	barColor    = gray(0x171a20) // behind the field and at the foot
	tileColor   = gray(0x1c2027)
	inputColor  = gray(0x20242c)
	lineColor   = gray(0x2c323d)
	textColor   = gray(0xe9ebf0)
	mutedColor  = gray(0x8d95a5)
	accentColor = gray(0x5b9dff)
	alertColor  = gray(0xffb454)
	shadowColor = color.NRGBA{A: 0x70}
)

// Scene is what the window shows.
func (g *Gallery) Scene() *scene.Scene {
	s := &scene.Scene{Size: g.size, Background: backColor}
	if g.size.X < 1 || g.size.Y < 1 {
		return s
	}
	g.thumbs.now++
	if len(g.found.Hits) == 0 {
		g.drawNothing(s)
	}
	first, end := g.inSight()
	for i := first; i < end; i++ {
		g.drawHit(s, i)
	}
	g.drawScrollbar(s)
	g.drawHead(s)
	g.drawFoot(s)
	return s
}

// drawNothing says why there are no pictures.
func (g *Gallery) drawNothing(s *scene.Scene) {
	text := "No picture is like that"
	switch {
	case g.found.Query == 0:
		text = "Loading…"
	case !g.progress.Finished:
		text = "Pictures appear when the folder is indexed"
	case g.about.Pictures == 0:
		text = "No pictures yet: drop a folder here"
	}
	f := g.font(fieldText, false)
	box := g.gridBox()
	box.Min.X = max((g.size.X-f.Width(text))/2, g.px(margin))
	s.Text(box, f, mutedColor, text)
}

// drawHit draws a picture, its name and how well it fits.
func (g *Gallery) drawHit(s *scene.Scene, i int) {
	hit, tile, cell := g.found.Hits[i], g.Tile(i), g.cell(i)
	radius := g.px(12)
	if i == g.selected {
		s.Fill(tile.Inset(-g.px(3)), accentColor, radius+g.px(3))
	}
	s.Fill(tile, tileColor, radius)
	if img, missing := g.thumbs.show(hit.ID); img != nil {
		s.Picture(fit(img.Rect.Size(), tile, g.scale), img, radius)
	} else if missing {
		f := g.font(nameText, false)
		text := f.Shorten("no preview", tile.Dx())
		at := tile
		at.Min.X += (tile.Dx() - f.Width(text)) / 2
		s.Text(at, f, mutedColor, text)
	}
	name := image.Rect(cell.Min.X, tile.Max.Y, cell.Max.X, tile.Max.Y+g.px(nameHeight))
	f := g.font(nameText, false)
	if g.found.Ranked {
		score := fmt.Sprintf("%.3f", hit.Score)
		at := name
		at.Min.X = at.Max.X - f.Width(score)
		s.Text(at, f, mutedColor, score)
		name.Max.X = at.Min.X - g.px(8)
		g.drawBar(s, image.Rect(cell.Min.X, cell.Max.Y-g.px(barHeight), cell.Max.X, cell.Max.Y), hit.Score)
	}
	s.Text(name, f, textColor, f.Shorten(filepath.Base(hit.Path), name.Dx()))
}

// drawBar draws a score: the best one found fills the bar, the worst leaves it empty.
func (g *Gallery) drawBar(s *scene.Scene, at image.Rectangle, score float32) {
	s.Fill(at, lineColor, at.Dy())
	part := 1.0
	if g.best > g.worst {
		part = float64(score-g.worst) / float64(g.best-g.worst)
	}
	if math.IsNaN(part) {
		return
	}
	at.Max.X = at.Min.X + max(int(part*float64(at.Dx())+0.5), at.Dy())
	s.Fill(at, accentColor, at.Dy())
}

func (g *Gallery) drawScrollbar(s *scene.Scene) {
	box, height := g.gridBox(), g.height()
	if height <= box.Dy() || box.Empty() {
		return
	}
	length := max(box.Dy()*box.Dy()/height, g.px(32))
	top := box.Min.Y + (box.Dy()-length)*g.scroll/(height-box.Dy())
	s.Fill(image.Rect(g.size.X-g.px(9), top, g.size.X-g.px(4), top+length), lineColor, g.px(3))
}

// drawHead draws the field over what is scrolled under it.
func (g *Gallery) drawHead(s *scene.Scene) {
	head := image.Rect(0, 0, g.size.X, g.px(headHeight))
	s.Shadow(head, shadowColor, 0, g.px(6))
	s.Fill(head, barColor, 0)
	box, line, edge := g.fieldBox(), max(g.px(1.5), 1), lineColor
	if g.selected < 0 {
		edge = accentColor
	}
	s.Fill(box, edge, g.px(14))
	s.Fill(box.Inset(line), inputColor, g.px(14)-line)
	g.drawLens(s, box)
	g.drawCount(s, box)
	text := g.textBox()
	if g.picture != "" {
		chip := g.chipBox()
		s.Fill(chip, lineColor, g.px(9))
		f := g.font(nameText, true)
		label := chip
		label.Min.X += g.px(10)
		s.Text(label, f, textColor, f.Shorten(g.chipLabel(), chip.Dx()-g.px(20)))
	}
	f := g.font(fieldText, false)
	if len(g.field.text) == 0 && g.picture == "" {
		hint := text
		hint.Min.X += g.px(2)
		s.Text(hint, f, mutedColor, f.Shorten("Say what is on the picture", text.Dx()))
	}
	start, shown := g.visibleText()
	s.Text(text, f, textColor, shown)
	if g.selected < 0 {
		x := text.Min.X + f.Width(string(g.field.text[start:g.field.caret]))
		height := g.px(22)
		top := (box.Min.Y + box.Max.Y - height) / 2
		s.Fill(image.Rect(x, top, x+max(g.px(1.5), 1), top+height), accentColor, 0)
	}
}

// drawLens draws a magnifying glass at the left end of the field.
func (g *Gallery) drawLens(s *scene.Scene, box image.Rectangle) {
	middle := image.Pt(box.Min.X+g.px(23), (box.Min.Y+box.Max.Y)/2-g.px(1))
	disc := func(at image.Point, radius int, c color.NRGBA) {
		s.Fill(image.Rect(at.X-radius, at.Y-radius, at.X+radius, at.Y+radius), c, radius)
	}
	disc(middle, g.px(7), mutedColor)
	disc(middle, g.px(7)-max(g.px(2), 1), inputColor)
	for i := range 12 {
		away := g.px(5 + float64(i)*0.5)
		disc(middle.Add(image.Pt(away, away)), max(g.px(1), 1), mutedColor)
	}
}

// drawCount says at the field's right end how many pictures are shown.
func (g *Gallery) drawCount(s *scene.Scene, box image.Rectangle) {
	f := g.font(nameText, false)
	text := g.countText()
	if width := f.Width(text); width < box.Dx()/3 {
		box.Min.X = box.Max.X - width - g.px(18)
		s.Text(box, f, mutedColor, text)
	}
}

func (g *Gallery) countText() string {
	n := len(g.found.Hits)
	switch {
	case n == 0:
		return ""
	case n < g.about.Pictures:
		return "best " + thousands(n) + " of " + thousands(g.about.Pictures)
	}
	return thousands(n)
}

// thousands writes a number as people read it.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
