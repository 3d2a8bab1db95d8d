package gallery

import (
	"fmt"
	"image"
	"path/filepath"
	"time"

	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// chipLabel names the picture that hits shall be like.
func (g *Gallery) chipLabel() string { return "like " + filepath.Base(g.picture) }

// chipBox is where it is written, in the field.
func (g *Gallery) chipBox() image.Rectangle {
	box := g.fieldBox()
	left, height := box.Min.X+g.px(44), g.px(28)
	width := min(g.font(nameText, true).Width(g.chipLabel())+g.px(20), max(box.Dx()/3, 1))
	top := (box.Min.Y + box.Max.Y - height) / 2
	return image.Rect(left, top, left+width, top+height)
}

// textBox is where words are written, in the field.
func (g *Gallery) textBox() image.Rectangle {
	box := g.fieldBox()
	count := g.font(nameText, false).Width(g.countText())
	if count >= box.Dx()/3 {
		count = 0
	}
	right := box.Max.X - count - g.px(34)
	box.Min.X += g.px(44)
	if g.picture != "" {
		box.Min.X = g.chipBox().Max.X + g.px(10)
	}
	box.Max.X = max(right, box.Min.X)
	return box
}

// visibleText is the part of the text that the field has room for, with the caret in it;
// start is its first rune.
func (g *Gallery) visibleText() (start int, text string) {
	f, width := g.font(fieldText, false), g.textBox().Dx()
	for start < g.field.caret && f.Width(string(g.field.text[start:g.field.caret])) > width {
		start++
	}
	return start, f.Shorten(string(g.field.text[start:]), width)
}

// caretAt is the place between two runes that is nearest to x.
func (g *Gallery) caretAt(x int) int {
	f, left := g.font(fieldText, false), g.textBox().Min.X
	start, shown := g.visibleText()
	before, end := left, start+len([]rune(shown))
	for i := start; i < min(end, len(g.field.text)); i++ {
		after := left + f.Width(string(g.field.text[start:i+1]))
		if x < (before+after)/2 {
			return i
		}
		before = after
	}
	return min(end, len(g.field.text))
}

// drawFoot says what computes, and how fast it was.
func (g *Gallery) drawFoot(s *scene.Scene) {
	foot := g.footBox()
	s.Fill(foot, barColor, 0)
	line := foot
	line.Max.Y = line.Min.Y + max(g.px(1), 1)
	s.Fill(line, lineColor, 0)
	f := g.font(footText, false)
	foot.Min.X += g.px(margin)
	foot.Max.X -= g.px(margin)
	right := g.timesText()
	width := f.Width(right)
	if width > foot.Dx()*2/3 {
		right, width = "", 0
	}
	at := foot
	at.Min.X = at.Max.X - width
	s.Text(at, f, mutedColor, right)
	foot.Max.X = at.Min.X - g.px(margin)
	left, c := g.aboutText(), mutedColor
	switch {
	case g.Problem() != "":
		left, c = g.Problem(), alertColor
	case !g.progress.Finished:
		left, c = g.progressText(), textColor
		line.Max.Y = line.Min.Y + max(g.px(2), 1)
		if g.progress.Total > 0 {
			line.Max.X = g.size.X * g.progress.Done / g.progress.Total
			s.Fill(line, accentColor, 0)
		}
	}
	s.Text(foot, f, c, f.Shorten(left, foot.Dx()))
}

func (g *Gallery) aboutText() string {
	pictures := " pictures"
	if g.about.Pictures == 1 {
		pictures = " picture"
	}
	return g.about.Model + "  ·  " + thousands(g.about.Pictures) + pictures + "  ·  " + g.about.Adapter
}

// timesText says how long the query that is shown took.
func (g *Gallery) timesText() string {
	if !g.found.Ranked {
		return ""
	}
	ms := func(d time.Duration) string {
		if d < 10*time.Millisecond {
			return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
		}
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return "encode " + ms(g.found.Encode) + "  ·  search " + ms(g.found.Search)
}

func (g *Gallery) progressText() string {
	p := g.progress
	text := "Indexing " + filepath.Base(p.Folder)
	if p.Total > 0 {
		text += ": " + thousands(p.Done) + " of " + thousands(p.Total)
	}
	if p.Rate > 0 {
		text += fmt.Sprintf("  ·  %.0f/s", p.Rate)
		if left := float64(p.Total-p.Done) / p.Rate; left >= 1 {
			text += "  ·  " + time.Duration(left*float64(time.Second)).Round(time.Second).String() + " left"
		}
	}
	return text
}
