"""The report: one HTML file with everything in it, which can be mailed, kept and read anywhere.

page        what a report is made of, as plain values, and write_report, which makes a file of them
evaluation  a page on how good a detector is, where labels are known
sections    a fitted estimator and rows → such values, for vectors, images and sequences
"""

from omokage.progress import raw_history
from omokage.report.evaluation import evaluation_page
from omokage.report.page import Cloud, Picture, Section, Table, write_report
from omokage.report.sections import certainty_section, diagnosis_section, model_sections

__all__ = [
    "Cloud",
    "Picture",
    "Section",
    "Table",
    "certainty_section",
    "diagnosis_section",
    "evaluation_page",
    "model_sections",
    "raw_history",
    "write_report",
]
