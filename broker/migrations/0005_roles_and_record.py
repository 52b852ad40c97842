"""Roles become rows, the record keeps outcome and address, and consoles can be closed when a right ends."""

import django.db.models.deletion
import uuid
from typing import Any

from django.conf import settings
from django.db import migrations, models

ACTIONS = (
    ('use_pool', 'See a pool, take a desktop from it and use it'),
    ('lead_shifts', 'See who waits and who has which desktop, and return desktops of others'),
    ('view_inventory', 'See objects in the Administration Portal'),
    ('create_pool', 'Create pools'),
    ('edit_pool', 'Edit pools, add VMs to them and detach VMs from them'),
    ('remove_pool', 'Remove pools'),
    ('operate_vm', 'Start, stop, open and return virtual machines'),
    ('create_vm', 'Create virtual machines'),
    ('edit_vm', 'Edit and rebuild virtual machines'),
    ('remove_vm', 'Remove virtual machines'),
    ('manage_data_centers', 'Manage data centers'),
    ('manage_clusters', 'Manage clusters'),
    ('manage_hosts', 'Manage hosts'),
    ('manage_storage', 'Manage storage'),
    ('manage_templates', 'Manage templates, and publish virtual machines as template versions'),
    ('assign_users', 'Give and take roles that only allow using pools'),
    ('manage_permissions', "Give and take roles that allow no more than one's own"),
    ('manage_roles', 'Compose roles'),
    ('manage_users', 'Manage users and groups'),
    ('change_settings', 'Change settings'),
)


def make_roles(apps: Any, schema_editor: Any) -> None:
    """Every role that was given so far was built in; what it allows is written after the migration."""
    Role = apps.get_model("broker", "Role")
    RoleAssignment = apps.get_model("broker", "RoleAssignment")
    for name in RoleAssignment.objects.order_by().values_list("role_name", flat=True).distinct():
        role = Role.objects.create(name=name, built_in=True)
        RoleAssignment.objects.filter(role_name=name).update(role=role)


class Migration(migrations.Migration):

    dependencies = [
        ('broker', '0004_names_and_sizes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Role',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100, unique=True)),
                ('description', models.TextField(blank=True)),
                ('actions', models.JSONField(default=list, help_text='codes of broker.roles.ACTIONS')),
                ('built_in', models.BooleanField(default=False)),
            ],
            options={
                'verbose_name': 'role',
                'ordering': ('name',),
                'default_permissions': (),
            },
        ),
        migrations.AlterModelOptions(
            name='cluster',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'cluster'},
        ),
        migrations.AlterModelOptions(
            name='datacenter',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'data center'},
        ),
        migrations.AlterModelOptions(
            name='host',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'host'},
        ),
        migrations.AlterModelOptions(
            name='pool',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'pool'},
        ),
        migrations.AlterModelOptions(
            name='roleassignment',
            options={'default_permissions': (), 'verbose_name': 'permission'},
        ),
        migrations.AlterModelOptions(
            name='storagepool',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'storage pool'},
        ),
        migrations.AlterModelOptions(
            name='template',
            options={'default_permissions': (), 'ordering': ('name',), 'permissions': ACTIONS, 'verbose_name': 'template'},
        ),
        migrations.AlterModelOptions(
            name='virtualmachine',
            options={'default_permissions': (), 'ordering': ('pool__name', 'number', 'name'), 'permissions': ACTIONS, 'verbose_name': 'virtual machine'},
        ),
        migrations.AddField(
            model_name='desktoprequest',
            name='revoked_at',
            field=models.DateTimeField(help_text='since when a manual pool keeps it from its user', null=True),
        ),
        migrations.AddField(
            model_name='consoleticket',
            name='closed_at',
            field=models.DateTimeField(help_text='the display was closed for that', null=True),
        ),
        migrations.AddField(
            model_name='consoleticket',
            name='revoked_at',
            field=models.DateTimeField(help_text='its user lost the right to the display', null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='address',
            field=models.GenericIPAddressField(help_text='where the request came from', null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='order_id',
            field=models.UUIDField(help_text='what one request did has the same', null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='outcome',
            field=models.CharField(choices=[('done', 'Done'), ('refused', 'Refused'), ('failed', 'Failed')], default='done', max_length=10),
        ),
        migrations.AddIndex(
            model_name='consoleticket',
            index=models.Index(condition=models.Q(('closed_at', None), ('revoked_at__isnull', False)), fields=['revoked_at'], name='console_ticket_to_close'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['actor', '-at'], name='event_by_actor'),
        ),
        migrations.RemoveConstraint(model_name='roleassignment', name='assignment_of_user_on_system_once'),
        migrations.RemoveConstraint(model_name='roleassignment', name='assignment_of_group_on_system_once'),
        migrations.RemoveConstraint(model_name='roleassignment', name='assignment_of_user_once'),
        migrations.RemoveConstraint(model_name='roleassignment', name='assignment_of_group_once'),
        migrations.RenameField(model_name='roleassignment', old_name='role', new_name='role_name'),
        migrations.AddField(
            model_name='roleassignment',
            name='role',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='assignments', to='broker.role'),
        ),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
        migrations.RemoveField(model_name='roleassignment', name='role_name'),
        migrations.AlterField(
            model_name='roleassignment',
            name='role',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='assignments', to='broker.role'),
        ),
        migrations.AddConstraint(
            model_name='roleassignment',
            constraint=models.UniqueConstraint(condition=models.Q(('object_id', None), ('user__isnull', False)), fields=('role', 'user'), name='assignment_of_user_on_system_once'),
        ),
        migrations.AddConstraint(
            model_name='roleassignment',
            constraint=models.UniqueConstraint(condition=models.Q(('group__isnull', False), ('object_id', None)), fields=('role', 'group'), name='assignment_of_group_on_system_once'),
        ),
        migrations.AddConstraint(
            model_name='roleassignment',
            constraint=models.UniqueConstraint(condition=models.Q(('user__isnull', False)), fields=('role', 'user', 'content_type', 'object_id'), name='assignment_of_user_once'),
        ),
        migrations.AddConstraint(
            model_name='roleassignment',
            constraint=models.UniqueConstraint(condition=models.Q(('group__isnull', False)), fields=('role', 'group', 'content_type', 'object_id'), name='assignment_of_group_once'),
        ),
    ]
