"""The page's look: a theme with bundled fonts and greys that leaves colour to the data.

Buttons and links are violet, so that grey, orange, blue and green always mean base, memorised,
generalised and taught in a later lesson, as in the figures.
"""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

from rotelab.config.names import LESSON
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, LESSON_COLOUR, PLOT_CSS
from rotelab.storage import ASSETS

STYLE_SHEET = ASSETS / "style.css"
CHAT_STYLE_SHEET = STYLE_SHEET.with_name("chat.css")
TOUR_STYLE_SHEET = STYLE_SHEET.with_name("tour.css")
PLOTS_STYLE_SHEET = STYLE_SHEET.with_name("plots.css")
LIVE_STYLE_SHEET = STYLE_SHEET.with_name("live.css")
AUDIENCE_STYLE_SHEET = STYLE_SHEET.with_name("audience.css")
NARROW_STYLE_SHEET = STYLE_SHEET.with_name("narrow.css")
FIRST_SCRIPTS = tuple(
    STYLE_SHEET.with_name(name)
    for name in ("slow_clocks.js", "leaving.js", "themes.js", "address.js")
)
"""They run before Gradio's own."""
SCRIPTS = tuple(
    STYLE_SHEET.with_name(name)
    for name in ("plots.js", "live.js", "typing.js", "cells.js", "language.js", "ways.js")
)

INK = colors.Color(
    name="ink",
    c50="#f4f2fc",
    c100="#e7e3f8",
    c200="#d0c8f1",
    c300="#b3a6e7",
    c400="#9584db",
    c500="#7563c8",
    c600="#5b49ad",
    c700="#4a3b90",
    c800="#3a2f72",
    c900="#2b2354",
    c950="#191433",
)

# Larger than Gradio's defaults: the page is shown on projectors at 1280 x 720.
TEXT = sizes.Size(
    name="text_projector",
    xxs="12px",
    xs="13px",
    sm="14px",
    md="16px",
    lg="18px",
    xl="22px",
    xxl="28px",
)


def make_theme() -> gr.themes.Base:
    """The theme, light and dark; nothing in it is fetched from another host.

    Over 60 lines because it is a table: a line for each of Gradio's variables.
    """
    # Gradio's semi-bold file of this font lacks most Latin letters, so the bold one is used.
    theme = gr.themes.Base(
        primary_hue=INK,
        secondary_hue=INK,
        neutral_hue=colors.slate,
        text_size=TEXT,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=(fonts.LocalFont("IBM Plex Mono"), "ui-monospace", "monospace"),
    )
    theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#0f1420",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        background_fill_primary="white",
        background_fill_primary_dark="#171d2b",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="#1e2637",
        block_background_fill="white",
        block_background_fill_dark="#171d2b",
        block_border_color="*neutral_200",
        block_border_color_dark="#2c3750",
        border_color_primary="*neutral_300",
        border_color_primary_dark="#35425e",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_title_text_weight="600",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_info_text_size="*text_sm",
        input_background_fill="white",
        input_background_fill_dark="#10151f",
        input_border_color="*neutral_300",
        input_border_color_dark="#43516f",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        input_border_width="1px",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#222c41",
        button_secondary_background_fill_hover="*primary_50",
        button_secondary_background_fill_hover_dark="#2c3853",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#43516f",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
        button_border_width="1px",
        button_large_text_size="*text_md",
        button_large_text_weight="600",
        button_medium_text_size="*text_md",
        button_medium_text_weight="500",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
        table_even_background_fill="white",
        table_even_background_fill_dark="#171d2b",
        table_odd_background_fill="*neutral_50",
        table_odd_background_fill_dark="#1b2232",
        table_border_color="*neutral_200",
        table_border_color_dark="#2c3750",
        slider_color="*primary_500",
        slider_color_dark="*primary_400",
        color_accent="*primary_600",
        block_shadow="none",
        shadow_drop="none",
    )
    return theme


def head() -> str:
    """The page's own scripts, as HTML for its head."""
    return "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in SCRIPTS)


def style_sheet() -> str:
    """The page's CSS, preceded by the checkpoints' colours as variables."""
    colours = CHECKPOINT_COLOURS | {LESSON: LESSON_COLOUR}
    variables = "".join(f"--{name}: {colour};" for name, colour in colours.items())
    sheets = (
        STYLE_SHEET, LIVE_STYLE_SHEET, AUDIENCE_STYLE_SHEET, CHAT_STYLE_SHEET, TOUR_STYLE_SHEET,
        PLOTS_STYLE_SHEET, NARROW_STYLE_SHEET,
    )  # fmt: skip
    own = [path.read_text(encoding="utf-8") for path in sheets]
    return "\n".join([f":root {{{variables}}}", *own, PLOT_CSS])
