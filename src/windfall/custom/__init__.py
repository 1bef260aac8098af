"""What a model takes from outside of its file: functions of the user's own, linked models; and models packed into it.

``opening.py`` puts linked and packed models into the places where they are named. What stays is a model that one graph
can compute, but for members that functions of the user's stand for: ``flow.py`` follows the values through it,
``segments.py`` makes a model of what lies between two such functions, ``stages.py`` runs all of them.
"""
