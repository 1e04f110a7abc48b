"""Anomaly detection: named scores of an ensemble, what they mean by the rows of a calibration, and what caused them.

    scores          how strange each row is to each member, in several senses
    neighbours      how far it is from the training rows
    calibration     what a score means: p-values, thresholds, several scores made one

The estimator on top of them is `omokage.estimators.detector`.
"""
