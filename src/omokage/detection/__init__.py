"""Anomaly detection: named scores of an ensemble, what they mean by the rows of a calibration, and what caused them.

    scores          how strange each row is to each member, in several senses, and the parts of some of them
    neighbours      how far it is from the training rows
    judge           several scores made one, for each member, and calibrated on rows that it left out
    steps           how strange each step of a series is
    calibration     what a score means: p-values, thresholds, surprise, severity
    explanation     what is to blame
    checks          what is suspicious about a detector
    drift           whether new rows are like those of the calibration
    evaluation      how good scores are where labels are known
    events          the same for scores of steps, and of the events that they belong to

The estimator on top of them is `omokage.estimators.detector`.
"""
